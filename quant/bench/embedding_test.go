package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	embedding        = flag.Bool("embedding", false, "TestEmbedding: measure, and print the tables")
	embeddingOnly    = flag.String("embedding.only", "", "its sections, comma between: start, photos, large, network; all if empty")
	embeddingThreads = flag.String("embedding.threads", "1,2", "numbers of threads, comma between")
	embeddingRounds  = flag.Int("embedding.rounds", 5, "how often all go over the pictures, in turns")
	embeddingPhotos  = flag.String("embedding.photos", "", "folder of photographs; none: no section photos")
	embeddingLarge   = flag.String("embedding.large", "", "folder of large JPEGs; none: 16 are drawn (see pictures)")
	embeddingPython  = flag.String("embedding.python", "python3", "a Python with numpy, pillow, onnx and onnxruntime")
	embeddingDir     = flag.String("embedding.dir", "", "folder for models and drawn pictures, which the next run finds there; none: a temporary one")
	embeddingSkip    = flag.String("embedding.skip", "loops", "regexp: commands to leave out; loops take more than half a second a picture")
)

// TestEmbedding measures edge-embed as a whole command beside a straightforward pipeline in Go and beside Pillow with
// ONNX Runtime in Python, and its network alone beside ONNX Runtime: make bench.
//
// All embed the same pictures with the same weights, in turns, each round; a ratio is the median over the rounds of a
// peer's time over ours within the round, so that a busy machine slows both. Times of whole commands are from before the
// process starts until after it ends. A command that may use fewer threads than there are processors is held to as many.
func TestEmbedding(t *testing.T) {
	if !*embedding {
		t.Skip("a measurement, not a test: make bench")
	}
	begin := time.Now()
	want := func(section string) bool {
		return *embeddingOnly == "" || slices.Contains(strings.Split(*embeddingOnly, ","), section)
	}
	var threads []int
	for field := range strings.SplitSeq(*embeddingThreads, ",") {
		var n int
		_, err := fmt.Sscan(field, &n)
		require.NoError(t, err, "-embedding.threads")
		threads = append(threads, n)
	}

	b := newBench(t)
	tiny := b.network("tiny", 224, 16)
	for _, section := range []string{"start", "photos", "large"} { // before networks in this process: see command.run
		if !want(section) {
			continue
		}
		folder := map[string]string{"start": b.single, "photos": *embeddingPhotos, "large": b.large}[section]
		if folder == "" {
			notMeasured("whole commands over photographs", "there is no -embedding.photos FOLDER")
			continue
		}
		for _, n := range threads {
			b.commands(section, folder, tiny, n)
		}
	}
	if want("network") {
		for _, shape := range []*network{tiny, b.network("tiny", 96, 8), b.network("nano", 32, 4)} {
			least := map[int]float64{}
			for _, n := range threads {
				least[n] = b.networks(shape, n)
			}
			if least[1] > 0 && least[2] > 0 {
				b.atLeast(shape.name+": as fast on two threads as on one, times", least[1]/least[2], 1.8)
			}
		}
	}
	b.printBars()
	fmt.Printf("\nmeasured in %.0f s\n", time.Since(begin).Seconds())
}

// bench is what the measurements need: the programs, pictures and models.
type bench struct {
	t         *testing.T
	dir       string // models and drawn pictures
	programs  string // folder
	large     string // folder of large JPEGs
	calibrate string // folder of pictures to calibrate on
	single    string // one of them
	python    bool
	pinned    bool // commands are held to their processors
	verdicts  []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: *embeddingDir, programs: t.TempDir(), large: *embeddingLarge}
	if b.dir == "" {
		b.dir = t.TempDir()
	}
	require.NoError(t, os.MkdirAll(b.dir, 0o777))
	b.build("edgejepa/cmd/edge-embed", "edgejepa/cmd/edge-train", "edgejepa/quant/bench/plain", "edgejepa/quant/bench/pictures")
	if b.large == "" {
		b.large = b.made("large", func(to string) { b.tool(b.program("pictures"), to) })
	}
	b.calibrate = *embeddingPhotos
	if b.calibrate == "" {
		b.calibrate = b.large
	}
	b.single = firstFile(t, b.calibrate)

	versions, err := exec.Command(*embeddingPython, "-c", `import sys, numpy, PIL, onnx, onnxruntime
print(f"Python {sys.version.split()[0]}, Pillow {PIL.__version__}, ONNX Runtime {onnxruntime.__version__}")`).CombinedOutput()
	if b.python = err == nil; !b.python {
		notMeasured("the comparison with Pillow and ONNX Runtime", fmt.Sprintf("%s: %v\n%s    pip install numpy pillow onnx onnxruntime, and -embedding.python PYTHON",
			*embeddingPython, err, versions))
	}
	_, err = exec.LookPath("taskset")
	if b.pinned = err == nil; !b.pinned {
		fmt.Println("there is no taskset: a command may use more processors than it has threads")
	}
	fmt.Printf("%s/%s, %d processors, %s, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), versions)
	return b
}

func notMeasured(what, why string) {
	const line = "****************************************************************"
	fmt.Printf("\n%s\nNOT MEASURED: %s: %s\n%s\n\n", line, what, why, line)
}

// bar holds a figure against what it should be.
func (b *bench) bar(name string, value, limit float64, holds bool) {
	verdict := "holds"
	if !holds {
		verdict = "MISSED"
	}
	b.verdicts = append(b.verdicts, fmt.Sprintf("%-6s  %-78s %7.2f (%.4g)", verdict, name, value, limit))
}

func (b *bench) atLeast(name string, value, limit float64) { b.bar(name, value, limit, value >= limit) }

func (b *bench) printBars() {
	fmt.Println("\nBARS, with the limit in brackets")
	for _, line := range b.verdicts {
		fmt.Println(line)
	}
}

// spread is the median of values, the least and the most.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

func TestSpread(t *testing.T) {
	require.Equal(t, spread{3, 1, 7}, spreadOf([]float64{7, 1, 3}))
	require.Equal(t, spread{2.5, 1, 7}, spreadOf([]float64{7, 1, 3, 2}))
}
