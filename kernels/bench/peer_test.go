package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// peer is OpenBLAS in a process of its own, openblas/peer.c, that multiplies when told to.
type peer struct {
	name string // library, version, core
	cmd  *exec.Cmd
	to   io.WriteCloser
	from *bufio.Reader
}

// openblasCores are what OpenBLAS calls the machines of our paths. It picks one of these itself when it knows the
// processor; held to one, it uses the same instructions as we do.
var openblasCores = map[string]string{"avx2": "Haswell", "avx512": "SkylakeX", "neon": "CORTEXA57"}

// startPeers builds the program and starts one for each path, or says loudly why there is none.
func startPeers(t *testing.T, paths []string) map[string]*peer {
	missing := func(why string) map[string]*peer {
		fmt.Printf(`
****************************************************************
NOT MEASURED: the comparison with OpenBLAS: %s
    apt-get install gcc libc6-dev libopenblas0-pthread
****************************************************************
`, why)
		return nil
	}
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		return missing("there is no gcc")
	}
	program := filepath.Join(t.TempDir(), "peer")
	build := exec.Command(compiler, "-O2", "-o", program, filepath.Join("openblas", "peer.c"), "-ldl")
	if out, err := build.CombinedOutput(); err != nil {
		return missing(fmt.Sprintf("%v: %s", err, out))
	}
	peers := map[string]*peer{}
	for _, path := range paths {
		core := openblasCores[path]
		p, err := startPeer(program, core)
		if err != nil {
			return missing(err.Error())
		}
		if !strings.HasSuffix(strings.ToLower(p.name), strings.ToLower(core)) {
			fmt.Printf("OpenBLAS was to run as %s and is %s\n", core, p.name)
		}
		peers[path] = p
	}
	if own, err := startPeer(program, ""); err == nil {
		fmt.Printf("%s is what it takes this processor for by itself\n", own.name)
		own.close()
	}
	return peers
}

func startPeer(program, core string) (*peer, error) {
	p := &peer{cmd: exec.Command(program)}
	p.cmd.Env = append(os.Environ(), "OPENBLAS_NUM_THREADS=1")
	if core != "" {
		p.cmd.Env = append(p.cmd.Env, "OPENBLAS_CORETYPE="+core)
	}
	var problems strings.Builder
	p.cmd.Stderr = &problems
	to, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	from, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.to, p.from = to, bufio.NewReader(from)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	name, err := p.from.ReadString('\n')
	if err != nil {
		p.close()
		return nil, fmt.Errorf("%s", strings.TrimSpace(problems.String()))
	}
	p.name = strings.TrimSpace(name)
	return p, nil
}

// close ends the process by ending its input.
func (p *peer) close() {
	p.to.Close()
	p.cmd.Wait()
}

// racers are the three products of a layer.
func (p *peer) racers(l *layer) *blasRacers {
	of := func(product byte, m, n, k int) *racer {
		return &racer{work: l.macs(), run: func(repeats int) time.Duration {
			fmt.Fprintf(p.to, "%c %d %d %d %d\n", product, m, n, k, repeats)
			var seconds float64
			if _, err := fmt.Fscanln(p.from, &seconds); err != nil {
				panic("kernels: the OpenBLAS process has ended")
			}
			return time.Duration(seconds * 1e9)
		}}
	}
	return &blasRacers{of('T', l.tokens, l.out, l.in), of('N', l.tokens, l.in, l.out), of('G', l.out, l.in, l.tokens)}
}
