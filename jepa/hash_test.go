package jepa

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"edgejepa/internal/cpu"
	"edgejepa/internal/parallel"
	"edgejepa/internal/safetensors"
	"edgejepa/vit"
)

// hashRuns are the runs whose checkpoints every machine must write alike: in each precision both predictors, both
// losses, and contexts of one length and of many. A new hash is a new result for every user: say so in the changes.
var hashRuns = []struct {
	name      string
	precision vit.Precision
	change    func(*Config)
	sha256    string
}{
	{"vit", vit.F32, unchanged, "7c76c641c802131b9af7c239674c03d8d3dfd8e00f42cb8be03dd1330fc934d2"},
	{"mlp", vit.F32, mlpRun, "85c51b8274cbf447e10e0418a6faae586b6b0cda8701513397c33be2e4b4a63d"},
	{"vit f16", vit.F16, unchanged, "a348085fc9b08ba24eeac97a8139cee9ef22a7dfd245f4fcf99246fbd2ed0866"},
	{"mlp f16", vit.F16, mlpRun, "92376ffb1028f1d09668a120074a76850d2b59980ed5f681dd4fc0f494ee3987"},
	{"vit int8", vit.I8, unchanged, "547d53644fdc4dbc89d9e943e8c31fc5e6df67092560154bef725edd26288296"},
	{"mlp int8", vit.I8, mlpRun, "ab57f9ea2d992154b05be8412482802ab818b316995e9da80abeec85ca7e1a88"},
	{"wide", vit.F32, wideRun, "653cd285de8ca52664952b459ed5862cbbbe23be7e6ba4d16aaae2b2fd48314c"},
	{"wide f16", vit.F16, wideRun, "f335bc85777765143b1ef0e172bad2acc580a21cb7e6abc994e4befc7463954f"},
	{"wide int8", vit.I8, wideRun, "f2037ed6d0cf12d64b38e58f5522f401d8c3bb8bf42098e183277253eb8b8f61"},
	{"sigreg", vit.F32, sigregRun, "0cc990b7e6b4138dda03f6226d0963ce9d728a1fea594d4fd16432dcaeca02de"},
	{"lejepa", vit.F32, learningBy(LeJEPA), "a476d74c480019816e5be1512c7b4356fd02a48bdbb45b387adb23e3761398ce"},
	{"byol", vit.F32, learningBy(BYOL), "352ca2f37cb6e4185067713109a6c083099fa597fca8babc06e640e6ca3c3c87"},
	{"mae", vit.F32, learningBy(MAE), "8e30719679407d607fd45dd2df5302d09f17e1f5e8a9cddf3a4dfc51acbd3817"},
	{"byol f16", vit.F16, learningBy(BYOL), "e60920029c290e79607b0af6a3a99d3a55deca5c8ac0805d10e54e0c9dcdd52b"},
	{"lejepa int8", vit.I8, learningBy(LeJEPA), "ece012beb4b8dabe77cc6d61d7880f4a74f03763c84335eed53087c2a83b7298"},
	{"mae int8", vit.I8, learningBy(MAE), "d82614d062096eb32030249adf1eef3a27c662861476c03c154e101ff1e72de6"},
	{"drop path", vit.F32, droppingRun, "5231a2ae9d7d7f5b9c4ad13af4c2a6f0ee68eaa2f427740f6e66860bd690c7f2"},
	{"target layers", vit.F32, layeredRun, "a40b37368dc568347a829305557e6ebcf6e034c0dcbeb02191d41632c1a435c1"},
	{"both f16", vit.F16, droppingLayeredRun, "e4a8c8e3862bf62fdf8c085c47707d76f4cc06c0da79a6bcb684722d69092564"},
	{"both int8", vit.I8, wideDroppingLayeredRun, "0ea3c2dd40ae3e074d4ffbe8f6ff7b18cd9a7bce52afdfc3eaf32c1158d61dd0"},
	{"lejepa drop path", vit.F32, func(c *Config) { plain(c, LeJEPA); c.DropPath = 0.5 }, "d3b82af8c3b04bdc3862f5506afb8623535718ecc15121c695de6a26864fa0da"},
	{"lejepa masked", vit.F32, func(c *Config) { c.SetObjective(LeJEPA); c.MaskRatio, c.Views = 0.5, 3 }, "f13f1972ec4f20a4bc9d358e5b2de758636bcba1935a3486ae346bb7e8306aad"},
	{"views", vit.F32, func(c *Config) { c.SetViews(2); c.ViewWeight = 1 }, "986a7146af7a4a29864fce910ecb752ab52dff196f636da780bcd86e0d0cfba1"},
	{"views f16", vit.F16, func(c *Config) { c.SetViews(2); c.ViewWeight = 1 }, "c58fe6e6c8c9acdb5c96db3521801dc600e8efcf5ab20a8586a1451e4f30a2b1"},
	{"views int8", vit.I8, func(c *Config) { wideRun(c); c.SetViews(2); c.ViewWeight = 1 }, "61fb45e0a965799903d6ec911f9c0dd0277a1bc5fe4809a9fac5741a5ba2419d"},
	{"mae views", vit.F32, maeViewsRun, "64df77ccc8e0298e63d3a0aae55323a1511f37867c7544d04338764bbdbb81f7"},
	{"mae views f16", vit.F16, maeViewsRun, "b0a80c942b70447847bb1201952dcd5c5c86b1afafb412094146d1e7e3d96fad"},
	{"mae views int8", vit.I8, func(c *Config) { wideRun(c); maeViewsRun(c) }, "a2138a223f38c612bf97a5f339e6563e4908ffb2c96ce1c5d333daa47044b707"},
	{"pixels", vit.F32, pixelsRun, "0657183176a5db050f68b79285608e6fd9e4c2b3b3cbb1df26686a673ed2ddab"},
	{"pixels int8", vit.I8, func(c *Config) { wideRun(c); pixelsRun(c) }, "ac09b9fa1bbf3dae999903edeee96012ac6f85250836d5673b0edcfa868b034b"},
}

func unchanged(*Config) {}

func mlpRun(c *Config) { c.Predictor, c.Loss, c.Masks.EqualContext = PredictorMLP, LossL2, false }

// wideRun is wide enough for the products of every layer's gradients to be int8, and has two groups (vit.Group) of them in
// either model, the second cut short.
func wideRun(c *Config) {
	c.Encoder.Dim, c.Encoder.Depth = 128, 1
	c.PredictorDim, c.PredictorDepth = 128, 1
	c.Batch, c.Masks.Targets = 9, 1
}

func sigregRun(c *Config) { c.VarianceWeight, c.SIGRegWeight = 0.05, 0.02 }

func droppingRun(c *Config) { c.DropPath = 0.5 }

func layeredRun(c *Config) { c.TargetLayers = 2 }

func droppingLayeredRun(c *Config) { c.Encoder.Depth, c.DropPath, c.TargetLayers = 3, 0.5, 2 }

func wideDroppingLayeredRun(c *Config) {
	wideRun(c)
	c.Encoder.Depth, c.DropPath, c.TargetLayers = 2, 0.5, 2
}

func learningBy(o Objective) func(*Config) { return func(c *Config) { plain(c, o) } }

func maeViewsRun(c *Config) { c.SetObjective(MAE); c.SetViews(2) }

func pixelsRun(c *Config) { c.PixelWeight, c.Loss = 0.5, LossL2 }

// hashConfig is the configuration of run i.
func hashConfig(i int) Config {
	c := microConfig()
	hashRuns[i].change(&c)
	c.Precision = hashRuns[i].precision
	return c
}

const hashSteps = 3

// way is how a run is done, of which its checkpoint must not depend.
type way struct {
	threads int
	plan    Plan
	resume  bool // from the second step's checkpoint, with one thread more and the next plan
}

// ways are every plan with every number of threads, every other one resumed; two of them if the test is to be short, and
// in pure Go, which takes ten times as long: what plans and threads change is the same code on every path.
func ways() (all []way) {
	if testing.Short() || len(cpu.Rungs()) == 0 {
		return []way{{threads: 2}, {3, plans[2], true}}
	}
	for i, plan := range plans {
		for j, threads := range []int{1, 2, 3, 7} {
			all = append(all, way{threads, plan, (i+j)%2 == 1})
		}
	}
	return all
}

// checkpointOf does run i in that way; last is done to the last step's pixels.
func checkpointOf(t *testing.T, i int, w way, last func(px []float32)) []byte {
	c := hashConfig(i)
	begin := func(threads int, plan Plan) *Trainer {
		pool := parallel.New(threads)
		t.Cleanup(pool.Close)
		tr, err := NewTrainer(c, plan, pool)
		require.NoError(t, err)
		return tr
	}
	tr := begin(w.threads, w.plan)
	for s := range hashSteps {
		if w.resume && s == hashSteps-1 {
			f, err := safetensors.Parse(checkpointBytes(t, tr))
			require.NoError(t, err)
			next := 0
			for n := range plans {
				if plans[n] == w.plan {
					next = (n + 1) % len(plans)
				}
			}
			tr = begin(w.threads+1, plans[next])
			tr.Step(pictures(c, 99)) // state that Restore must replace
			require.NoError(t, tr.Restore(f))
		}
		px := pictures(c, uint64(s))
		if s == hashSteps-1 {
			last(px)
		}
		require.False(t, tr.Step(px).Skipped)
	}
	return checkpointBytes(t, tr)
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestCheckpointHash holds the promise of equal bytes for every number of threads and every plan, resumed or not, on
// every machine: whoever runs it, on whatever machine or emulator, compares with all others.
func TestCheckpointHash(t *testing.T) {
	for i, r := range hashRuns {
		t.Run(r.name, func(t *testing.T) {
			for _, w := range ways() {
				require.Equal(t, r.sha256, hashOf(checkpointOf(t, i, w, func([]float32) {})), "%+v on %s", w, cpu.ISA())
			}
		})
	}
}

// One pixel of the last step that is off by a thousandth shows. (Off by its last bit, rounding swallows it.)
func TestCheckpointHashSeesOnePixel(t *testing.T) {
	for i, r := range hashRuns {
		if testing.Short() && i > 0 { // one is enough to see that a hash sees
			break
		}
		c, at := hashConfig(i), 0
		if c.MaskRatio > 0 { // a pixel of a patch that is seen
			var m Masks
			m.scatter(c, hashSteps-1)
			patch, grid := int(m.Context[0]), c.Encoder.Grid()
			at = (patch/grid*c.Encoder.ImageSize + patch%grid) * c.Encoder.PatchSize
		}
		got := checkpointOf(t, i, way{threads: 2}, func(px []float32) { px[at] *= 1.001 })
		require.NotEqual(t, r.sha256, hashOf(got), r.name)
	}
}

// TestCheckpointHashEveryISA runs TestCheckpointHash in a process for each path of the kernels that this machine has.
func TestCheckpointHashEveryISA(t *testing.T) {
	if forced, _ := cpu.Forced(); forced != "" {
		t.Skip("this process is bound to one path: " + forced)
	}
	for _, isa := range cpu.Paths() {
		c := exec.Command(os.Args[0], "-test.run", "^TestCheckpointHash$", "-test.v", "-test.short")
		c.Env = append(os.Environ(), cpu.EnvISA+"="+isa)
		out, err := c.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("an emulator that the kernel does not know of cannot run this binary again")
		}
		require.NoError(t, err, "%s: %s", isa, out)
		for _, r := range hashRuns {
			require.Contains(t, string(out), "--- PASS: TestCheckpointHash/"+strings.ReplaceAll(r.name, " ", "_"), isa)
		}
	}
}
