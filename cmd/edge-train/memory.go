package main

import (
	"fmt"
	"math"
	"runtime/debug"

	"edgejepa/internal/cli"
	"edgejepa/jepa"
	"edgejepa/jepa/data"
	"edgejepa/vit/pixels"
)

// memoryPlan shares out the memory of a run. All of it is known before any of it is allocated, and the sum is an upper
// bound of what the process will have resident.
type memoryPlan struct {
	budget  int64 // what may be used; 0: unknown
	base    int64 // the program and its runtime, and garbage that is not collected yet
	lists   int64 // of the pictures
	batches int64 // the loader's
	decode  int64 // pictures being decoded
	eval    int64 // --eval
	report  int64 // what the report shows, see planReport
	init    int64 // the model of --init-from, to which a run that diverges may go back
	trainer int64
	cache   int64 // decoded pictures that may be kept

	workers int // goroutines that decode
	slots   int // batches that the loader holds
	plan    jepa.Plan
}

const (
	programBytes = 12 << 20 // the binary's pages that are in use, stacks, the runtime's own
	garbageBytes = 6 << 20  // the heap may grow by this between two collections
	lateBytes    = 2 << 20  // and by this while one is under way
	shortGarbage = 1 << 19  // pictures decoded between two collections where memory is short
	perPicture   = 64       // bytes of the lists for a picture, beside its path
)

// need is what the run takes beside the cache.
func (m memoryPlan) need() int64 {
	return m.base + m.lists + m.batches + m.decode + m.eval + m.report + m.init + m.trainer
}

// limit is the memory that a run may take.
type limit struct {
	bytes int64 // 0: any
	asked bool  // by --memory: make use of it. What the machine has free is not all taken if it makes hardly any difference

	report, init int64 // of it, what these take
}

// share plans a run of c over set within a limit, with judged pictures to probe it on. What costs the least speed is given
// up first: the plans of jepa.Plans in their order up to where batches would be cut, then batches prepared ahead and
// goroutines that decode, then the rest of the plans, then all preparing ahead. If nothing fits, the error names the least
// budget that would.
func share(c jepa.Config, set *data.Set, limits pixels.Limits, threads, judged int, limit limit) (memoryPlan, error) {
	budget := limit.bytes
	m := memoryPlan{budget: budget, base: programBytes + garbageBytes + lateBytes, report: limit.report, init: limit.init}
	for _, path := range set.Paths() {
		m.lists += perPicture + int64(len(path))
	}
	if d := int64(c.Encoder.Dim); judged > 0 {
		m.eval = evalBytes(c.Encoder, threads) + 4*12*d*d // one block of packed weights
		m.eval += 2 * int64(judged) * (4*d + perPicture)  // features, which are copied once as their list grows
	}
	picture, size := decodeBytes(set.Paths(), c.Encoder.ImageSize, limits)
	most := int64(math.MaxInt64) // for the trainer
	if !limit.asked {
		most = jepa.Footprint(c, jepa.Thrifty(c, threads), threads)
	}
	// try plans for a loader of that size, and says whether it all fits.
	try := func(slots, workers int) (ok bool) {
		m.slots, m.workers = slots, workers
		m.batches, m.decode, m.trainer = data.LoaderBytes(c.Batch, c.PictureViews(), c.Encoder.ImageSize, slots), int64(workers)*picture, 0
		left := most
		if budget > 0 {
			left = min(most, max(1, budget-m.need()))
		}
		m.plan, m.trainer, ok = jepa.Fit(c, threads, left)
		return ok
	}
	ok := try(data.DefaultSlots, threads) && !m.plan.Previews(c)
	for workers := threads; !ok && workers > 0; workers /= 2 {
		ok = try(2, workers) && !m.plan.Previews(c)
	}
	if ok = ok || try(2, 1) || try(1, 1); !ok {
		return m, cli.Usagef("training takes %s at least, and the memory allowed is %s: raise --memory to %s or more, lower --batch (now %d) or --image-size, or take a smaller --preset",
			cli.Bytes(m.need()), cli.Bytes(budget), ceilMiB(m.need()), c.Batch)
	}
	if dear := pixelMACs*size*float64(c.Batch) > cheapDecoding*jepa.MACs(c); budget > 0 && (dear || limit.asked) {
		m.cache = (budget - m.need()) / 4 * 3
	}
	return m, nil
}

// ceilMiB writes bytes as --memory takes them, rounded up.
func ceilMiB(n int64) string { return fmt.Sprintf("%dMiB", (n+1<<20-1)>>20) }

const (
	headersRead   = 32 // pictures that decodeBytes looks at
	decodedBytes  = 8  // a pixel: the decoder's planes and the RGB picture
	largestFactor = 2  // over the largest of those pictures

	pixelMACs     = 500      // multiply-adds that take as long as decoding a pixel, about
	cheapDecoding = 1.0 / 32 // share of a step that decoding its pictures may take before they are worth keeping
)

// decodeBytes is what decoding a picture may take, guessed from the headers of a few of them, and how many pixels they
// have on average.
func decodeBytes(paths []string, size int, limits pixels.Limits) (most int64, average float64) {
	n := min(headersRead, len(paths))
	for i := range n {
		bytes, pixels, err := headerBytes(paths[i*len(paths)/n], size)
		if err == nil {
			most = max(most, bytes)
			average += float64(pixels) / float64(n)
		}
	}
	if limits.MaxBytes > 0 {
		most = min(most, limits.MaxBytes)
	}
	return largestFactor * most, average
}

// headerBytes is what the header of a picture says that decoding takes, and its pixels. A JPEG is decoded at a half, a
// quarter or an eighth as long as that leaves data.MinSide.
func headerBytes(path string, size int) (bytes, count int64, err error) {
	info, err := pixels.ReadInfo(path)
	if err != nil {
		return 0, 0, err
	}
	w, h := int64(info.W), int64(info.H)
	count = w * h
	for n := 0; n < 3 && info.Format == pixels.JPEG && min(w, h)/2 >= int64(data.MinSide(size)); n++ {
		w, h = w/2, h/2
	}
	return info.Bytes + decodedBytes*w*h, count, nil
}

// hold makes the garbage collector keep to the plan. A step allocates nothing: only decoded pictures become garbage, and
// what is alive is known.
func (m memoryPlan) hold() {
	debug.SetGCPercent(int(min(100, max(1, 100*garbageBytes/(m.need()-m.base)))))
	if m.budget > 0 {
		debug.SetMemoryLimit(max(m.budget, m.need()) - programBytes)
	}
}

// collect is how many bytes of pictures may be decoded between two collections of garbage: where memory is so short that
// no batch is prepared ahead, about a photograph's.
func (m memoryPlan) collect() int {
	if m.slots > 1 {
		return 0
	}
	return shortGarbage
}

// describe says what the plan is: in one line, and part by part if asked.
func (m memoryPlan) describe(out *cli.Progress, c jepa.Config, threads int, parts bool) {
	of := ""
	if m.budget > 0 {
		of = " of " + cli.Bytes(m.budget)
	}
	kept := ""
	if m.cache > 0 {
		kept = fmt.Sprintf(", and up to %s for decoded pictures", cli.Bytes(m.cache))
	}
	out.Infof("memory: %s%s%s; %s; %d threads", cli.Bytes(m.need()), of, kept, m.plan.Describe(c), threads)
	if !parts {
		return
	}
	_, layout := jepa.Layout(c, m.plan, threads)
	for _, p := range layout {
		out.Infof("  %10s  %s", cli.Bytes(p.End-p.Start), p.Name)
	}
	for _, p := range []struct {
		name  string
		bytes int64
	}{{fmt.Sprintf("%d batches of pictures", m.slots), m.batches}, {fmt.Sprintf("decoding, %d at a time", m.workers), m.decode},
		{"lists of pictures", m.lists}, {"evaluation", m.eval}, {"report", m.report}, {"model of --init-from", m.init}, {"program and garbage", m.base}} {
		if p.bytes > 0 {
			out.Infof("  %10s  %s", cli.Bytes(p.bytes), p.name)
		}
	}
}
