package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the first LLVM with a model of neoverse-n1; before, that name and cortex-a76 meant the pipeline of an A57.
const oldest = 16

// llvm is a folder with llvm-mca and llvm-objdump of one version.
type llvm struct {
	mca, objdump string
	libraries    []string // where its shared libraries are, if not installed
	version      string
}

// features that the kernels use behind a test of the processor.
const features = "+v8.6a,+fullfp16,+i8mm,+dotprod"

// findLLVM takes the newest that is installed, or puts Debian's into the user's cache folder.
func findLLVM() (*llvm, error) {
	var candidates []llvm
	for v := 30; v >= oldest; v-- {
		candidates = append(candidates, llvm{mca: fmt.Sprintf("llvm-mca-%d", v), objdump: fmt.Sprintf("llvm-objdump-%d", v)})
	}
	candidates = append(candidates, llvm{mca: "llvm-mca", objdump: "llvm-objdump"})
	installed, _ := filepath.Glob("/usr/lib/llvm-*/bin")
	for _, bin := range installed {
		candidates = append(candidates, llvm{mca: filepath.Join(bin, "llvm-mca"), objdump: filepath.Join(bin, "llvm-objdump")})
	}
	cached, cacheErr := cachedLLVM()
	candidates = append(candidates, cached...)
	for _, l := range candidates {
		if l.works() == nil {
			return &l, nil
		}
	}
	if cacheErr != nil {
		return nil, cacheErr
	}
	return download()
}

var versionNumber = regexp.MustCompile(`LLVM version (\d+)\S*`)

// works tells whether both programs run and are new enough.
func (l *llvm) works() error {
	for _, program := range []string{l.objdump, l.mca} {
		text, err := l.run("", program, "--version")
		if err != nil {
			return err
		}
		m := versionNumber.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("%s does not tell its version", program)
		}
		if v, _ := strconv.Atoi(m[1]); v < oldest {
			return fmt.Errorf("%s is of %s", program, m[0])
		}
		l.version = "llvm-mca, " + m[0]
	}
	return nil
}

func (l *llvm) run(input, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(input)
	if l.libraries != nil {
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(l.libraries, ":"))
	}
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", program, err, problems.Bytes())
	}
	return string(out), nil
}

// disassemble returns the assembly routines that match, by what is in parentheses.
func (l *llvm) disassemble(binary string, assembled *regexp.Regexp) (map[string][]line, error) {
	listing, err := l.run("", l.objdump, "-d", "--no-show-raw-insn", "--mattr="+features, binary)
	if err != nil {
		return nil, err
	}
	return parse(listing, assembled), nil
}

var totalCycles = regexp.MustCompile(`Total Cycles:\s+(\d+)`)

// cycles is how long a turn of a loop takes once it is under way.
func (l *llvm) cycles(loop []line, mcpu string) (float64, error) {
	after := func(turns int) (float64, error) {
		report, err := l.run(assembly(loop), l.mca, "-march=aarch64", "-mcpu="+mcpu, "-mattr="+features,
			"-iterations="+strconv.Itoa(turns), "-resource-pressure=false", "-instruction-info=false")
		if err != nil {
			return 0, err
		}
		m := totalCycles.FindStringSubmatch(report)
		if m == nil {
			return 0, errors.New("llvm-mca reports no cycles")
		}
		return strconv.ParseFloat(m[1], 64)
	}
	few, err := after(100)
	if err != nil {
		return 0, err
	}
	many, err := after(300)
	return (many - few) / 200, err
}

// cacheDir is where downloaded packages are unpacked.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "edgejepa-llvm"), err
}

// cachedLLVM is what earlier runs have downloaded.
func cachedLLVM() ([]llvm, error) {
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	var found []llvm
	bins, _ := filepath.Glob(filepath.Join(dir, "usr/lib/llvm-*/bin"))
	system, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu"))
	for _, bin := range bins {
		found = append(found, llvm{
			mca: filepath.Join(bin, "llvm-mca"), objdump: filepath.Join(bin, "llvm-objdump"),
			libraries: append(slices.Clone(system), filepath.Join(filepath.Dir(bin), "lib")),
		})
	}
	return found, nil
}

// download unpacks Debian's packages into the cache folder: 45 MB, nothing is installed.
func download() (*llvm, error) {
	const advice = "needs llvm-mca and llvm-objdump of LLVM 16 or newer: apt-get install llvm-19"
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, errors.New(advice)
	}
	dir, err := cacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	problems := []error{errors.New(advice)}
	for _, v := range []string{"19", "20", "18", "17", "16"} {
		fmt.Fprintf(os.Stderr, "model-arm: no LLVM of %d or newer; downloading the packages of LLVM %s into %s\n", oldest, v, dir)
		get := exec.Command("apt-get", "download", "llvm-"+v, "llvm-"+v+"-linker-tools", "libllvm"+v)
		get.Dir = dir
		if text, err := get.CombinedOutput(); err != nil {
			problems = append(problems, fmt.Errorf("apt-get download: %w: %s", err, bytes.TrimSpace(text)))
			continue
		}
		packages, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
		for _, p := range packages {
			if text, err := exec.Command("dpkg", "-x", p, dir).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("dpkg -x %s: %w\n%s", p, err, text)
			}
			if err := os.Remove(p); err != nil {
				return nil, err
			}
		}
		found, err := cachedLLVM()
		if err != nil {
			return nil, err
		}
		for _, l := range found {
			err := l.works()
			if err == nil {
				return &l, nil
			}
			problems = append(problems, err)
		}
	}
	return nil, errors.Join(problems...)
}
