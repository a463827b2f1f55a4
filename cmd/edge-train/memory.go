package main

import (
	"fmt"
	"image"
	_ "image/gif" // formats for image.DecodeConfig
	_ "image/jpeg"
	_ "image/png"
	"os"
	"runtime/debug"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"

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
	trainer int64
	cache   int64 // decoded pictures that may be kept

	workers int // goroutines that decode
	slots   int // batches that the loader holds
	plan    jepa.Plan
}

const (
	programBytes = 10 << 20 // the binary's pages that are in use, stacks, the runtime's own
	garbageBytes = 6 << 20  // the heap may grow by this between two collections
	lateBytes    = 2 << 20  // and by this while one is under way
	perPicture   = 64       // bytes of the lists for a picture, beside its path
)

// need is what the run takes beside the cache.
func (m memoryPlan) need() int64 {
	return m.base + m.lists + m.batches + m.decode + m.eval + m.trainer
}

// share plans a run of c over set within budget bytes, 0 for any, with judged pictures to probe it on. What costs the
// least speed is given up first: the plans of jepa.Plans in their order up to where batches would be cut, then batches
// prepared ahead and goroutines that decode, then the rest of the plans, then all preparing ahead. If nothing fits, the
// error names the least budget that would.
func share(c jepa.Config, set *data.Set, limits pixels.Limits, threads, judged int, budget int64) (memoryPlan, error) {
	m := memoryPlan{budget: budget, base: programBytes + garbageBytes + lateBytes}
	for _, path := range set.Paths() {
		m.lists += perPicture + int64(len(path))
	}
	if d := int64(c.Encoder.Dim); judged > 0 {
		m.eval = evalBytes(c.Encoder, threads) + 4*12*d*d // one block of packed weights
		m.eval += 2 * int64(judged) * (4*d + perPicture)  // features, which are copied once as their list grows
	}
	picture := decodeBytes(set.Paths(), c.Encoder.ImageSize, limits)
	// try plans for a loader of that size, and says whether it all fits.
	try := func(slots, workers int) (ok bool) {
		m.slots, m.workers = slots, workers
		m.batches, m.decode, m.trainer = data.LoaderBytes(c.Batch, c.Encoder.ImageSize, slots), int64(workers)*picture, 0
		left := int64(0) // any
		if budget > 0 {
			left = max(1, budget-m.need())
		}
		m.plan, m.trainer, ok = jepa.Fit(c, threads, left)
		return ok
	}
	whole := func() bool { return m.plan.Micro == c.Batch || c.VarianceWeight == 0 }
	ok := try(data.DefaultSlots, threads) && whole()
	for workers := threads; !ok && workers > 0; workers /= 2 {
		ok = try(2, workers) && whole()
	}
	if ok = ok || try(2, 1) || try(1, 1); !ok {
		return m, cli.Usagef("training takes %s at least, and the memory allowed is %s: raise --memory to %s or more, lower --batch (now %d) or --image-size, or take a smaller --preset",
			cli.Bytes(m.need()), cli.Bytes(budget), ceilMiB(m.need()), c.Batch)
	}
	if budget > 0 {
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
)

// decodeBytes is what decoding a picture may take, guessed from the headers of a few of them.
func decodeBytes(paths []string, size int, limits pixels.Limits) int64 {
	most := int64(0)
	n := min(headersRead, len(paths))
	for i := range n {
		bytes, err := headerBytes(paths[i*len(paths)/n], size)
		if err == nil {
			most = max(most, bytes)
		}
	}
	if limits.MaxBytes > 0 {
		most = min(most, limits.MaxBytes)
	}
	return largestFactor * most
}

// headerBytes is what the header of a picture says that decoding takes. A JPEG is decoded at a half, a quarter or an
// eighth as long as that leaves four times as many pixels a side as the network sees.
func headerBytes(path string, size int) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	c, format, err := image.DecodeConfig(f)
	if err != nil {
		return 0, err
	}
	w, h := int64(c.Width), int64(c.Height)
	for n := 0; n < 3 && format == "jpeg" && min(w, h)/2 >= 4*int64(size); n++ {
		w, h = w/2, h/2
	}
	return info.Size() + decodedBytes*w*h, nil
}

// hold makes the garbage collector keep to the plan. A step allocates nothing: only decoded pictures become garbage, and
// what is alive is known.
func (m memoryPlan) hold() {
	debug.SetGCPercent(int(min(100, max(1, 100*garbageBytes/(m.need()-m.base)))))
	if m.budget > 0 {
		debug.SetMemoryLimit(max(m.budget, m.need()) - programBytes)
	}
}

// describe says what the plan is: in one line, and part by part if asked.
func (m memoryPlan) describe(out *cli.Progress, c jepa.Config, threads int, parts bool) {
	of := ""
	if m.budget > 0 {
		of = " of " + cli.Bytes(m.budget)
	}
	out.Infof("memory: %s%s, and up to %s for decoded pictures; %s; %d threads", cli.Bytes(m.need()), of, cli.Bytes(m.cache), m.plan.Describe(c), threads)
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
		{"lists of pictures", m.lists}, {"evaluation", m.eval}, {"program and garbage", m.base}} {
		if p.bytes > 0 {
			out.Infof("  %10s  %s", cli.Bytes(p.bytes), p.name)
		}
	}
}
