package transfer

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7"

	"polder.dev/polder/internal/usage"
)

// Copying plans to copy one object or file; deep, all that is below a directory or a
// prefix, as DIR/a to PREFIX/a. Streams are Read's and Write's.
func (c *Client) Copying(ctx context.Context, from, to Address, deep bool) (*Plan, error) {
	if !from.Remote() && !to.Remote() {
		return nil, usage.Errorf("neither %s nor %s is in the store; one must be s3://BUCKET/KEY", from, to)
	}
	if deep {
		return c.copyAll(ctx, from, to)
	}
	if from.Remote() {
		return c.copyObjectPlan(ctx, from, to)
	}
	return c.copyFile(from, to)
}

func (c *Client) copyFile(from, to Address) (*Plan, error) {
	info, err := os.Stat(from.Path)
	if err != nil {
		return nil, usage.Errorf("reading %s: %w", from, plainError(err))
	}
	if info.IsDir() {
		return nil, usage.Errorf("%s is a directory; copy it with -r", from)
	}
	if to.Key == "" || strings.HasSuffix(to.Key, "/") {
		to.Key += filepath.Base(from.Path)
	}
	path, err := filepath.EvalSymlinks(from.Path) // the user has named it, so its link may lead anywhere
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", from, plainError(err))
	}
	t, err := openTree(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	j := Job{Action: Upload, From: from.String(), To: to.String(), Size: info.Size(), err: checkKey(to.Key)}
	j.run = func(ctx context.Context, m *Meter) error { return c.upload(ctx, t, filepath.Base(path), to, m) }
	return single(j, t), nil
}

func single(j Job, trees ...*tree) *Plan {
	return &Plan{func(yield func(Job) bool) { yield(j) }, trees}
}

func (c *Client) copyObjectPlan(ctx context.Context, from, to Address) (*Plan, error) {
	if from.Key == "" || strings.HasSuffix(from.Key, "/") && !to.Remote() {
		return nil, usage.Errorf("%s is no object; copy what is below it with -r", from)
	}
	o, err := c.stat(ctx, from, "")
	if err != nil {
		return nil, explain(err, from)
	}
	if to.Remote() {
		if to.Key == "" || strings.HasSuffix(to.Key, "/") {
			to.Key += from.base()
		}
		if to == from {
			return nil, usage.Errorf("%s would be copied to itself", from)
		}
		j := Job{Action: Copy, From: from.String(), To: to.String(), Size: o.Size, err: checkKey(to.Key)}
		j.run = func(ctx context.Context, m *Meter) error { return c.copyObject(ctx, from, "", o.Size, to, m) }
		return single(j), nil
	}
	dir, name := filepath.Split(to.Path)
	if info, err := os.Stat(to.Path); name == "" || name == "." || name == ".." || err == nil && info.IsDir() {
		dir = to.Path
		if name, err = localName(from.base()); err != nil {
			return nil, err
		}
	}
	if dir == "" {
		dir = "."
	}
	t, err := openTree(dir)
	if err != nil {
		return nil, usage.Error(err)
	}
	d := &fetch{c: c, from: from, t: t, name: name, size: o.Size}
	j := Job{Action: Download, From: from.String(), To: Address{Path: filepath.Join(dir, name)}.String(), Size: o.Size}
	j.run = func(ctx context.Context, m *Meter) error {
		d.m = m
		return d.run(ctx)
	}
	return single(j, t), nil
}

// between opens both sides of a plan.
func (c *Client) between(from, to Address, dry bool) (*side, *side, *Plan, error) {
	if from.Remote() && to.Remote() && from.Bucket == to.Bucket && (strings.HasPrefix(to.directory(), from.directory()) || strings.HasPrefix(from.directory(), to.directory())) {
		return nil, nil, nil, usage.Errorf("of %s and %s one holds the other", from, to)
	}
	src, err := c.openSide(from, false, false)
	if err != nil {
		return nil, nil, nil, err
	}
	p := &Plan{}
	p.own(src)
	dst, err := c.openSide(to, true, dry)
	if err != nil {
		p.Close()
		return nil, nil, nil, err
	}
	p.own(dst)
	return src, dst, p, nil
}

// greet asks about a bucket that is to be written to, so that one that is not there, or
// keys that are wrong, are one error and not one for each object. Who may write need not
// be allowed to list.
func (c *Client) greet(ctx context.Context, a Address) error {
	if !a.Remote() {
		return nil
	}
	_, _, err := c.ask(ctx, http.MethodGet, a.Bucket, url.Values{"list-type": {"2"}, "max-keys": {"1"}, "prefix": {a.Key}}, nil, nil)
	if codeOf(err) == minio.AccessDenied {
		return nil
	}
	return explain(err, Address{Bucket: a.Bucket})
}

func (p *Plan) own(s *side) {
	if s.tree != nil {
		p.trees = append(p.trees, s.tree)
	}
}

func (c *Client) copyAll(ctx context.Context, from, to Address) (*Plan, error) {
	if err := c.greet(ctx, to); err != nil {
		return nil, err
	}
	src, dst, p, err := c.between(from, to, false)
	if err != nil {
		return nil, err
	}
	p.jobs = func(yield func(Job) bool) {
		any := false
		for j := range c.moves(ctx, src, dst, src.items(ctx)) {
			any = true
			if !yield(j) {
				return
			}
		}
		if !any && !src.local() && ctx.Err() == nil {
			yield(Job{Action: Download, From: src.at.String(), err: missing("there is nothing below %s", src.at)})
		}
	}
	return p, nil
}

// moves are the jobs for items of src.
func (c *Client) moves(ctx context.Context, src, dst *side, items iter.Seq2[item, error]) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		place := c.placing(src, dst)
		for i, err := range items {
			j := place(i, err)
			if ctx.Err() != nil || !yield(j) {
				return
			}
		}
	}
}

// placing returns the function that makes an item's job. It is asked in the order of
// the items.
func (c *Client) placing(src, dst *side) func(item, error) Job {
	var known *names
	if dst.local() {
		known = newNames(dst.tree != nil && dst.tree.foldsCase())
	}
	return func(i item, err error) Job {
		switch {
		case err != nil:
			return Job{Action: Left, From: src.name(i.rel), err: err}
		case i.left != "":
			return Job{Action: Left, From: src.name(i.rel), Note: i.left}
		case dst.local() && i.marker():
			return makeDir(src, dst, i)
		}
		j := c.move(src, dst, i)
		if known != nil {
			if _, err := known.add(i.rel); err != nil {
				j.err = err
			}
		}
		return j
	}
}
