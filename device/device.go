// Package device says what machine this is and how much of it a run may use: instruction sets, cores, caches, memory
// and its limits, clock, heat and supply voltage.
//
// Everything is read from /proc and /sys (documented in the kernel's Documentation/ABI and admin-guide/cgroup-v2), so
// other systems yield only what the Go runtime knows.
package device

import (
	"errors"
	"io/fs"
	"os"
	"runtime"

	"edgejepa/internal/cpu"
)

// Profile describes a machine. What cannot be found is zero and left out of the output.
type Profile struct {
	System string   `json:"system,omitempty"` // linux/arm64
	Board  string   `json:"board,omitempty"`  // Raspberry Pi 5 Model B Rev 1.0
	CPU    string   `json:"cpu,omitempty"`    // 4 × Cortex-A76
	ISA    string   `json:"isa,omitempty"`    // the path that the kernels take
	Paths  []string `json:"isa_paths,omitempty"`

	Cores    int     `json:"cores,omitempty"`
	CPUQuota float64 `json:"cpu_quota,omitempty"` // cores that the control group grants
	Caches   []Cache `json:"caches,omitempty"`
	Clocks   []Clock `json:"clocks,omitempty"`

	Memory Memory `json:"memory,omitzero"`

	Temperatures []Temperature `json:"temperatures,omitempty"`
	Power        *Power        `json:"power,omitempty"`
}

// Cache is one kind of cache: Count caches of Bytes each.
type Cache struct {
	Level int    `json:"level"`
	Type  string `json:"type"` // Data, Instruction, Unified
	Bytes int64  `json:"bytes"`
	Count int    `json:"count"`
}

// Clock is the frequency policy of some cores.
type Clock struct {
	Cores    string `json:"cores,omitempty"` // 0-3
	Governor string `json:"governor,omitempty"`
	MHz      int    `json:"mhz,omitempty"`
	MaxMHz   int    `json:"max_mhz,omitempty"` // of the hardware
	CapMHz   int    `json:"cap_mhz,omitempty"` // set below MaxMHz by a person or by heat
}

// Memory is in bytes.
type Memory struct {
	Total     int64 `json:"total,omitempty"`
	Available int64 `json:"available,omitempty"` // without swapping
	Swap      int64 `json:"swap,omitempty"`
	Limit     int64 `json:"limit,omitempty"` // of the control group
}

// Temperature is a thermal zone's.
type Temperature struct {
	Zone    string  `json:"zone"`
	Celsius float64 `json:"celsius"`
}

// Power is what a Raspberry Pi tells of its supply and heat. Only the under-voltage alarm is known on kernels that have
// it as a hwmon device; older ones offer all of the firmware's flags.
type Power struct {
	UnderVoltage    bool `json:"under_voltage"`
	FrequencyCapped bool `json:"frequency_capped,omitempty"`
	Throttled       bool `json:"throttled,omitempty"`
	SoftLimit       bool `json:"soft_temperature_limit,omitempty"`
	WasUnderVoltage bool `json:"was_under_voltage,omitempty"` // since boot
	WasCapped       bool `json:"was_frequency_capped,omitempty"`
	WasThrottled    bool `json:"was_throttled,omitempty"`
	WasSoftLimit    bool `json:"was_soft_temperature_limit,omitempty"`
}

// Slowed says that the firmware keeps the clock below what the governor asks for.
func (p Power) Slowed() bool { return p.FrequencyCapped || p.Throttled || p.SoftLimit }

// strains are what a Power tells of, each with what to say while it lasts, and of one that has been there since boot.
var strains = [...]struct {
	now, ever func(*Power) *bool
	is, was   string
}{
	{
		func(p *Power) *bool { return &p.UnderVoltage }, func(p *Power) *bool { return &p.WasUnderVoltage },
		"the supply voltage is too low: use a stronger power supply or a shorter cable",
		"the supply voltage was too low since the last boot: use a stronger power supply or a shorter cable",
	}, {
		func(p *Power) *bool { return &p.FrequencyCapped }, func(p *Power) *bool { return &p.WasCapped },
		"the firmware caps the clock because of heat or voltage: add cooling, or a stronger power supply",
		"the firmware capped the clock since the last boot because of heat or voltage: add cooling, or a stronger power supply",
	}, {
		func(p *Power) *bool { return &p.Throttled }, func(p *Power) *bool { return &p.WasThrottled },
		"the firmware holds the clock down because of heat or voltage: add cooling, or a stronger power supply",
		"the firmware held the clock down since the last boot because of heat or voltage: add cooling, or a stronger power supply",
	}, {
		func(p *Power) *bool { return &p.SoftLimit }, func(p *Power) *bool { return &p.WasSoftLimit },
		"the firmware lowers the clock at its soft limit of temperature: add cooling",
		"the firmware lowered the clock since the last boot at its soft limit of temperature: add cooling",
	},
}

// Here probes the machine that the program runs on. The Profile is as complete as can be also when there is an error.
func Here() (Profile, error) {
	p, err := Probe(os.DirFS("/"))
	p.System = runtime.GOOS + "/" + runtime.GOARCH
	p.ISA, p.Paths = cpu.ISA(), cpu.Paths()
	if n := runtime.NumCPU(); p.Cores == 0 || n < p.Cores {
		p.Cores = n // fewer when an affinity mask is set
	}
	return p, err
}

// Probe reads the machine whose file system is root. Missing files are fine. Files that are there and make no sense are
// named in the error; the Profile has the rest.
func Probe(root fs.FS) (Profile, error) {
	r := &reader{root: root}
	p := Profile{
		Board:        r.board(),
		CPU:          r.cpuName(),
		Cores:        r.cores(),
		Caches:       r.caches(),
		Clocks:       r.clocks(),
		Memory:       r.memory(),
		Temperatures: r.temperatures(),
		Power:        r.power(),
	}
	p.CPUQuota, p.Memory.Limit = r.controlGroup()
	return p, errors.Join(r.errs...)
}
