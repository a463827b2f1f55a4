package probe

import (
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edgejepa/internal/demoset"
)

func TestDev(t *testing.T) {
	dir := "/tmp/pr/demo"
	t0 := time.Now()
	if err := demoset.Write(dir, demoset.Options{PerClass: 300, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	fmt.Println("write", time.Since(t0))
	var size int64
	for _, down := range []int{4} {
		var f Features
		for c, name := range demoset.Classes() {
			ps, _ := filepath.Glob(filepath.Join(dir, name, "*.jpg"))
			for _, p := range ps {
				r, _ := os.Open(p)
				st, _ := r.Stat()
				size += st.Size()
				m, err := jpeg.Decode(r)
				if err != nil {
					t.Fatal(err)
				}
				r.Close()
				for y := 0; y < 48; y += down {
					for x := 0; x < 48; x += down {
						var s [3]uint32
						for j := range down {
							for i := range down {
								a, b, c, _ := m.At(x+i, y+j).RGBA()
								s[0] += a
								s[1] += b
								s[2] += c
							}
						}
						f.X = append(f.X, float32(s[0])/65535, float32(s[1])/65535, float32(s[2])/65535)
					}
				}
				f.Y = append(f.Y, int32(c))
			}
		}
		f.N = len(f.Y)
		f.D = len(f.X) / f.N
		a, b := Split(f.Y, 0.2, 0)
		p := pool(t, 2)
		tr, te := f.Rows(a), f.Rows(b)
		fmt.Println("down", down, "D", f.D, "knn", KNN(p, tr, te, 20, 0.1), "linear", Linear(p, tr, te), "bytes", size)
	}
}
