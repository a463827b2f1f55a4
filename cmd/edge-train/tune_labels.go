package main

import (
	"fmt"
	"slices"
	"strings"

	"edgejepa/internal/cli"
	"edgejepa/jepa/labels"
	"edgejepa/jepa/probe"
	"edgejepa/jepa/tune"
	"edgejepa/vit/heads"
)

// examples reads the labels.
func (p *tunePlan) examples(f *tuneFlags, task heads.Task, progress *cli.Progress) error {
	r := labelReader{strict: f.strict, problem: func(lost bool, err error) {
		if lost {
			p.lost++
		}
		progress.Warnf("%v", err)
	}}
	var err error
	if p.train, err = r.read(task, f.data, f.split, nil); err != nil {
		return cli.Usage(err)
	}
	if err := p.setAside(f, r, task); err != nil {
		return err
	}
	p.names = namesHash(slices.Concat(p.train.Paths, p.val.Paths), []string{f.data, f.val})
	return cli.Usage(labels.CheckParts(p.train.Part("the pictures to learn from"), p.val.Part("the pictures to judge on"), r.options(nil)))
}

// setAside finds the pictures to judge on.
func (p *tunePlan) setAside(f *tuneFlags, r labelReader, task heads.Task) (err error) {
	if f.val == "" && f.valSplit == "" {
		y := make([]int32, p.train.Len()) // one class for what is not to be classified
		for i, l := range p.train.Labels {
			y[i] = int32(l)
		}
		a, b := probe.Split(y, testShare, f.seed)
		if len(b) == 0 {
			return cli.Usagef("%d pictures are too few to set some aside: give --val", p.train.Len())
		}
		p.train, p.val = p.train.Pick(a), p.train.Pick(b)
		return nil
	}
	where := f.val
	if where == "" {
		where = f.data
	}
	if p.val, err = r.read(task, where, f.valSplit, p.train.Classes); err != nil {
		return cli.Usagef("--val: %w", err)
	}
	return nil
}

// labelReader reads labelled pictures.
type labelReader struct {
	strict  bool
	problem func(lost bool, err error) // told of what is wrong, and whether a picture or a box was lost by it
}

func (r labelReader) options(classes []string) labels.Options {
	return labels.Options{Classes: classes, Strict: r.strict, OnProblem: func(q *labels.Problem) {
		r.problem(strings.Contains(q.Done, "skipped") || strings.Contains(q.Done, "dropped"), q)
	}}
}

// read lists the pictures of a task, whose classes are numbered as in classes, unless those are nil.
func (r labelReader) read(task heads.Task, path, split string, classes []string) (*tune.Examples, error) {
	o := r.options(classes)
	o.Split = split
	switch task {
	case heads.Classify:
		c, err := labels.OpenClassification([]string{path}, o)
		if err != nil {
			return nil, err
		}
		return tune.FromClassification(c), nil
	case heads.Segment:
		s, err := labels.OpenSegmentation(path, o)
		if err != nil {
			return nil, err
		}
		return tune.FromSegmentation(s), nil
	case heads.Detect:
		d, err := labels.OpenDetection(path, o)
		if err != nil {
			return nil, err
		}
		return tune.FromDetection(d), nil
	}
	return nil, fmt.Errorf("--task %q: it must be %s, %s or %s", task, heads.Classify, heads.Segment, heads.Detect)
}
