package nvidia

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"polder.dev/polder/device"
)

// outputMax is the most that is read of a saved output. That of eight GPUs is a
// third of a MiB.
const outputMax = 16 << 20

// smiLog is what `nvidia-smi -q -x` prints. NVIDIA's DTD for it has had versions 10
// to 13 so far: names were added, a few changed, values of the same name kept their
// meaning. What an older or newer version lacks stays "".
type smiLog struct {
	// from is who said it: nvidia-smi, or NVML in the same words.
	from         string
	driver, cuda string
	cards        []*card
}

// source is who said it, or would have.
func (l *smiLog) source() string { return cmp.Or(l.from, smi) }

var (
	logStart = []byte("<nvidia_smi_log")
	logEnd   = []byte("</nvidia_smi_log>")
)

// parseLog reads a log, wherever in the output it is. It returns the cards before
// what cannot be read, too. The error wraps device.ErrFormat if there is no log.
func parseLog(output []byte) (smiLog, error) {
	l := smiLog{from: smi}
	from := bytes.Index(output, logStart)
	if from < 0 || len(output) > outputMax {
		return l, fmt.Errorf("no <nvidia_smi_log> of nvidia-smi -q -x: %w", device.ErrFormat)
	}
	text := output[from:]
	if to := bytes.Index(text, logEnd); to >= 0 {
		text = text[:to+len(logEnd)]
	}
	x := xml.NewDecoder(bytes.NewReader(legal(nameless(text))))
	x.Strict = false
	for {
		t, err := x.Token()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err == nil {
			err = l.element(x, t)
		}
		if err != nil {
			return l, fmt.Errorf("reading the log: %w", err)
		}
	}
}

// element takes in one element below the root.
func (l *smiLog) element(x *xml.Decoder, t xml.Token) error {
	start, ok := t.(xml.StartElement)
	if !ok {
		return nil
	}
	switch start.Name.Local {
	case "nvidia_smi_log":
		return nil
	case "driver_version":
		return x.DecodeElement(&l.driver, &start)
	case "cuda_version":
		return x.DecodeElement(&l.cuda, &start)
	case "gpu":
		if len(l.cards) == cardsMax {
			return fmt.Errorf("there are more than %d GPUs", cardsMax)
		}
		c := &card{}
		if err := x.DecodeElement(c, &start); err != nil {
			return err
		}
		c.Parts = c.Parts[:min(len(c.Parts), partsMax)]
		l.cards = append(l.cards, c)
		return nil
	}
	return x.Skip()
}

// nameless is the text without the names of processes, which may hold anything, tags
// too.
func nameless(text []byte) []byte {
	const start, end = "<process_name>", "</process_name>"
	var out []byte
	for {
		from := bytes.Index(text, []byte(start))
		if from < 0 {
			return append(out, text...)
		}
		out, text = append(out, text[:from]...), text[from+len(start):]
		to := bytes.Index(text, []byte(end))
		if to < 0 {
			return out
		}
		text = text[to+len(end):]
	}
}

// legal replaces bytes that XML does not allow.
func legal(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == 0xfffe || r == 0xffff {
			return '?'
		}
		return r
	}, bytes.ToValidUTF8(text, []byte("?")))
}
