// Package emulator runs a program on emulated ARM cores and tells how often each block of its code ran: the counts behind
// armcount and behind the jobs of armmodel. It needs gcc, for a plugin of qemu, and qemu-user with plugins.
package emulator

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Cores of the boards, as qemu names them.
var Cores = []string{"cortex-a53", "cortex-a72", "cortex-a76"}

// ErrMissing is in the error of New where something is not installed.
var ErrMissing = errors.New("not run")

// Advice is how Debian installs it.
const Advice = "apt-get install gcc libc6-dev qemu-user"

//go:embed plugin/count.c
var plugin []byte

// Machine is an emulator with the plugin, and a program for it.
type Machine struct {
	Version string // of the emulator
	Program string // the file
	Symbols Symbols

	qemu, plugin, dir string
	runs              atomic.Int64 // so far
}

// New builds a program of this module for arm64, and the plugin, in dir. The version of the plugin interface is found by
// trying.
func New(dir, pkg string) (*Machine, error) {
	m := &Machine{dir: dir, plugin: filepath.Join(dir, "count.so"), Program: filepath.Join(dir, "program")}
	for _, name := range []string{"qemu-aarch64", "qemu-aarch64-static"} {
		if path, err := exec.LookPath(name); err == nil && m.qemu == "" {
			m.qemu = path
		}
	}
	if m.qemu == "" {
		return nil, fmt.Errorf("%w: qemu-aarch64 is missing", ErrMissing)
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return nil, fmt.Errorf("%w: gcc is missing", ErrMissing)
	}
	version, err := exec.Command(m.qemu, "--version").Output()
	if err != nil {
		return nil, err
	}
	m.Version, _, _ = strings.Cut(string(version), "\n")
	build := exec.Command("go", "build", "-o", m.Program, pkg)
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building for arm64: %w\n%s", err, text)
	}
	if m.Symbols, err = readSymbols(m.Program); err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "count.c")
	if err := os.WriteFile(source, plugin, 0o644); err != nil {
		return nil, err
	}
	var problem error
	for api := 1; api <= 8; api++ {
		cc := exec.Command(gcc, "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-DAPI="+strconv.Itoa(api), "-o", m.plugin, source)
		if text, err := cc.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: building the plugin: %v\n%s", ErrMissing, err, text)
		}
		if _, problem = m.Run(Cores[0], "-h"); problem == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("%w: %s takes no plugin: %v", ErrMissing, m.Version, problem)
}

// Run runs the program with arguments on one thread of a core. Several may run at a time.
func (m *Machine) Run(core string, args ...string) ([]Block, error) {
	out := filepath.Join(m.dir, fmt.Sprintf("blocks-%d", m.runs.Add(1)))
	defer os.Remove(out)
	cmd := exec.Command(m.qemu, slices.Concat([]string{"-cpu", core, "-plugin", m.plugin + ",out=" + out, m.Program}, args)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "EDGEJEPA_ISA=")
	text, err := cmd.CombinedOutput()
	blocks, missing := os.ReadFile(out)
	if missing != nil {
		return nil, fmt.Errorf("%v: %s", err, text)
	}
	if args[0] != "-h" && err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return parseBlocks(string(blocks))
}
