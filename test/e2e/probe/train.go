package main

import (
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	features = 8
	samples  = 512
	rate     = 0.05
	kept     = 3 // checkpoints
)

// finishFile, in the checkpoints' directory, ends the training after the present
// epoch: a test that is done writes it.
const finishFile = "finish"

// state is what a checkpoint holds. Ballast makes it as large as a test wants.
type state struct {
	Epoch   int       `json:"epoch"`
	Weights []float64 `json:"weights"`
	Ballast []byte    `json:"ballast,omitempty"`
}

// share is what workers tell each other in every epoch.
type share struct {
	Gradient []float64
	Loss     float64
	Last     bool // from worker 0: this was the last epoch
}

// train fits a line through points in eight dimensions, on all workers together:
// each has its part of the points, and gradients are added up by worker 0.
// Parameters: read, a file to print; epochs; pace, the least time of an epoch; ballast, bytes of a checkpoint.
func train(ctx context.Context, _ []string) error {
	rank, world := number("RANK", 0), number("WORLD_SIZE", 1)
	epochs, ballast := number("POLDER_PARAM_EPOCHS", 10), number("POLDER_PARAM_BALLAST", 0)
	pace, err := time.ParseDuration(or(os.Getenv("POLDER_PARAM_PACE"), "10ms"))
	if err != nil {
		return fmt.Errorf("parameter pace: %w", err)
	}
	if path := os.Getenv("POLDER_PARAM_READ"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Printf("read %q\n", text)
	}
	s, corrupt, err := newest(os.Getenv("POLDER_CHECKPOINT_DIR"))
	if err != nil {
		return err
	}
	if rank == 0 {
		for _, c := range corrupt {
			if err := tell(map[string]any{"event": "checkpoint_corrupt", "file": c}); err != nil {
				return err
			}
		}
		if err := tell(map[string]any{"event": "start", "epochs": epochs, "resumed_from": s.Epoch, "world_size": world}); err != nil {
			return err
		}
	}
	peers, err := meet(ctx, rank, world)
	if err != nil {
		return fmt.Errorf("meeting the other workers: %w", err)
	}
	x, y := points()
	tick := time.NewTicker(max(pace, time.Millisecond))
	defer tick.Stop()
	s.Ballast = make([]byte, ballast)
	for last := s.Epoch >= epochs; !last; {
		select {
		case <-ctx.Done():
			return errors.New("told to end")
		case <-tick.C:
		}
		mine := gradient(s.Weights, x, y, rank, world)
		mine.Last = s.Epoch+1 >= epochs || there(filepath.Join(os.Getenv("POLDER_CHECKPOINT_DIR"), finishFile))
		all, err := together(peers, rank, mine)
		if err != nil {
			return fmt.Errorf("epoch %d: %w", s.Epoch+1, err)
		}
		for i := range s.Weights {
			s.Weights[i] -= rate * all.Gradient[i] / samples
		}
		s.Epoch++
		last = all.Last
		if rank == 0 {
			if err := record(s, epochs, all.Loss/samples); err != nil {
				return err
			}
		}
	}
	if rank > 0 {
		return nil
	}
	return publish(s)
}

func record(s state, epochs int, loss float64) error {
	if err := save(os.Getenv("POLDER_CHECKPOINT_DIR"), s); err != nil {
		return fmt.Errorf("writing the checkpoint of epoch %d: %w", s.Epoch, err)
	}
	return tell(map[string]any{"event": "epoch", "epoch": s.Epoch, "epochs": epochs, "loss": loss})
}

func publish(s state) error {
	s.Ballast = nil
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replace(filepath.Join(os.Getenv("POLDER_OUTPUT_DIR"), "weights.bin"), b); err != nil {
		return err
	}
	fmt.Printf("done after %d epochs\n", s.Epoch)
	return tell(map[string]any{"event": "end", "metrics": map[string]any{"epochs_done": s.Epoch}})
}

// points are the same on every worker.
func points() (x [][]float64, y []float64) {
	r := rand.New(rand.NewPCG(7, 7))
	truth := make([]float64, features)
	for i := range truth {
		truth[i] = r.NormFloat64()
	}
	for range samples {
		row, sum := make([]float64, features), 0.0
		for i := range row {
			row[i] = r.NormFloat64()
			sum += row[i] * truth[i]
		}
		x, y = append(x, row), append(y, sum+0.1*r.NormFloat64())
	}
	return x, y
}

// gradient is that of the squared error over every world-th point from rank on.
func gradient(w []float64, x [][]float64, y []float64, rank, world int) share {
	s := share{Gradient: make([]float64, features)}
	for n := rank; n < len(x); n += world {
		miss := -y[n]
		for i, v := range x[n] {
			miss += w[i] * v
		}
		s.Loss += miss * miss
		for i, v := range x[n] {
			s.Gradient[i] += 2 * miss * v
		}
	}
	return s
}

// peer is a connection to another worker.
type peer struct {
	enc *gob.Encoder
	dec *gob.Decoder
}

// meet connects every worker to worker 0, at MASTER_ADDR.
func meet(ctx context.Context, rank, world int) ([]peer, error) {
	if world == 1 {
		return nil, nil
	}
	port := os.Getenv("MASTER_PORT")
	var conns []net.Conn
	if rank == 0 {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return nil, err
		}
		defer l.Close()
		context.AfterFunc(ctx, func() { l.Close() })
		for len(conns) < world-1 {
			c, err := l.Accept()
			if err != nil {
				return nil, err
			}
			conns = append(conns, c)
		}
	} else {
		c, err := call(ctx, net.JoinHostPort(os.Getenv("MASTER_ADDR"), port))
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
	}
	var out []peer
	for _, c := range conns {
		context.AfterFunc(ctx, func() { c.Close() })
		out = append(out, peer{gob.NewEncoder(c), gob.NewDecoder(c)})
	}
	return out, nil
}

// call tries for a while: the name is there before worker 0 is.
func call(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	d := net.Dialer{Timeout: answerLimit}
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-tick.C:
		}
	}
}

// together adds up what all workers found and returns the sum to each.
func together(peers []peer, rank int, mine share) (share, error) {
	if rank > 0 {
		if err := peers[0].enc.Encode(mine); err != nil {
			return share{}, err
		}
		var sum share
		err := peers[0].dec.Decode(&sum)
		return sum, err
	}
	for _, p := range peers {
		var other share
		if err := p.dec.Decode(&other); err != nil {
			return share{}, err
		}
		mine.Loss += other.Loss
		for i, g := range other.Gradient {
			mine.Gradient[i] += g
		}
	}
	for _, p := range peers {
		if err := p.enc.Encode(mine); err != nil {
			return share{}, err
		}
	}
	return mine, nil
}

func checkpoints(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "epoch-*.pt"))
	slices.Sort(found)
	return found
}

// newest reads the newest checkpoint whose hash is right, and names newer ones
// whose hash is not.
func newest(dir string) (s state, corrupt []string, err error) {
	for _, path := range slices.Backward(checkpoints(dir)) {
		b, err := os.ReadFile(path)
		if err != nil {
			return s, nil, err
		}
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != text(path+".sha256") {
			corrupt = append(corrupt, filepath.Base(path))
			continue
		}
		return s, corrupt, json.Unmarshal(b, &s)
	}
	return state{Weights: make([]float64, features)}, corrupt, nil
}

// save writes a checkpoint and its hash, and removes the oldest.
func save(dir string, s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, fmt.Sprintf("epoch-%05d.pt", s.Epoch))
	sum := sha256.Sum256(b)
	if err := replace(path+".sha256", []byte(hex.EncodeToString(sum[:]))); err != nil {
		return err
	}
	if err := replace(path, b); err != nil {
		return err
	}
	all := checkpoints(dir)
	for _, old := range all[:max(0, len(all)-kept)] {
		if err := errors.Join(os.Remove(old), os.Remove(old+".sha256")); err != nil {
			return err
		}
	}
	return nil
}

// replace changes the file at path so that a crash leaves the old or the new.
func replace(path string, b []byte) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// tell appends a line to the metrics file.
func tell(line map[string]any) error {
	line["time"] = time.Now().UTC().Format(time.RFC3339Nano)
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(os.Getenv("POLDER_METRICS_FILE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Close())
}

func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func number(name string, other int) int {
	n, err := strconv.Atoi(strings.TrimSpace(os.Getenv(name)))
	if err != nil {
		return other
	}
	return n
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
