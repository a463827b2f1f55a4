// Command gen writes the licences of everything linked into the given programs, on any of the given platforms.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// linked is a module, or what of Go itself is in a program.
type linked struct {
	name, version string
	license       string            // SPDX expression
	in            map[string]string // by program: the platforms where it is linked, with a space after each
	texts         map[string]string // by path in the module
}

// isLicense tells of names that texts have which must go along with a program.
var isLicense = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)`)

func main() {
	log.SetFlags(0)
	log.SetPrefix("licenses: ")
	out := flag.String("o", "", "write to `FILE`")
	platforms := flag.String("platforms", "", "`GOOS-GOARCH`, separated by spaces; an ARM generation follows as armv6")
	flag.Parse()
	if err := write(*out, strings.Fields(*platforms), flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func write(out string, platforms, programs []string) error {
	if out == "" || len(platforms) == 0 || len(programs) == 0 {
		return errors.New("-o, -platforms and packages of programs are needed")
	}
	all := map[string]*linked{}
	for _, platform := range platforms {
		for _, program := range programs {
			if err := collect(all, platform, program); err != nil {
				return fmt.Errorf("%s for %s: %w", program, platform, err)
			}
		}
	}
	sorted := slices.SortedFunc(maps.Values(all), func(a, b *linked) int { return cmp.Compare(a.name, b.name) })
	for _, l := range sorted {
		if err := l.recognise(); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	table(&b, sorted, platforms)
	texts(&b, sorted)
	return os.WriteFile(out, b.Bytes(), 0o644)
}

// collect adds what program links on platform.
func collect(all map[string]*linked, platform, program string) error {
	goos, arch, _ := strings.Cut(platform, "-")
	goarch, goarm, _ := strings.Cut(arch, "v")
	c := exec.Command("go", "list", "-deps", "-json=Dir,Root,Standard,Module", program)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOARM="+goarm)
	c.Stderr = os.Stderr
	packages, err := c.Output()
	if err != nil {
		return err
	}
	for d := json.NewDecoder(bytes.NewReader(packages)); ; {
		var p struct {
			Dir, Root string
			Standard  bool
			Module    *struct{ Path, Version string }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var name, version string
		switch {
		case p.Standard:
			name = "Go standard library and runtime"
			p.Dir = p.Root // of its folders only crypto/internal/boring has another text, about what only cgo links
		case p.Module != nil:
			name, version = p.Module.Path, p.Module.Version
		default:
			return fmt.Errorf("%s belongs to no module", p.Dir)
		}
		l := all[name]
		if l == nil {
			l = &linked{name: name, version: version, in: map[string]string{}, texts: map[string]string{}}
			all[name] = l
		}
		if program := path.Base(program); !strings.Contains(l.in[program], platform+" ") {
			l.in[program] += platform + " "
		}
		if err := l.read(p.Root, p.Dir); err != nil {
			return err
		}
	}
}

// read takes the texts in the folder of a package and in those above it, and what a module keeps of others at its root.
func (l *linked) read(root, dir string) error {
	folders := []string{filepath.Join(root, "THIRD_PARTY_LICENSES")}
	for ; dir != root; dir = filepath.Dir(dir) {
		folders = append(folders, dir)
	}
	for i, folder := range append(folders, root) {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if e.IsDir() || i > 0 && (!isLicense.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go") {
				continue
			}
			text, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, filepath.Join(folder, e.Name()))
			if err != nil {
				return err
			}
			l.texts[filepath.ToSlash(rel)] = tidy(string(text))
		}
	}
	return nil
}

func tidy(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.Trim(text, "\r\n")) {
		b.WriteString(strings.TrimRight(line, " \t\r\n") + "\n")
	}
	return b.String()
}

// recognise names the licences at the root of a module. One that it does not know must be read by a person first.
func (l *linked) recognise() error {
	var ids []string
	for _, file := range slices.Sorted(maps.Keys(l.texts)) {
		if strings.Contains(file, "/") || !regexp.MustCompile(`(?i)^(licen|copying)`).MatchString(file) {
			continue
		}
		text := strings.Join(strings.Fields(l.texts[file]), " ")
		known := len(ids)
		if strings.Contains(text, "Apache License") && strings.Contains(text, "Version 2.0") {
			ids = append(ids, "Apache-2.0")
		}
		if strings.Contains(text, "Permission is hereby granted, free of charge, to any person obtaining a copy") {
			ids = append(ids, "MIT")
		}
		if strings.Contains(text, "Redistributions in binary form must reproduce the above copyright notice") &&
			strings.Contains(text, "Neither the name") {
			ids = append(ids, "BSD-3-Clause")
		}
		if len(ids) == known {
			return fmt.Errorf("%s: %s is not a licence that is known here", l.name, file)
		}
	}
	if len(ids) == 0 {
		return fmt.Errorf("%s has no licence", l.name)
	}
	l.license = strings.Join(ids, " AND ")
	return nil
}

func table(w io.Writer, all []*linked, platforms []string) {
	fmt.Fprint(w, "What is linked into the programs and under which licence, and then the licences themselves.\nWritten by make generate.\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range all {
		var in []string
		for _, program := range slices.Sorted(maps.Keys(l.in)) {
			if on := strings.Fields(l.in[program]); len(on) < len(platforms) {
				program += " (" + strings.Join(on, ", ") + ")"
			}
			in = append(in, program)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.name, cmp.Or(l.version, "-"), l.license, strings.Join(in, ", "))
	}
	t.Flush()
}

// texts writes each text once, under the names of all that have it.
func texts(w io.Writer, all []*linked) {
	owners := map[string][]string{}
	var order []string
	for _, l := range all {
		for _, file := range slices.Sorted(maps.Keys(l.texts)) {
			text := l.texts[file]
			if owners[text] == nil {
				order = append(order, text)
			}
			owners[text] = append(owners[text], l.name+": "+file)
		}
	}
	for _, text := range order {
		fmt.Fprintf(w, "\n%s\n%s\n%s\n%s", strings.Repeat("=", 80), strings.Join(owners[text], "\n"), strings.Repeat("-", 80), text)
	}
}
