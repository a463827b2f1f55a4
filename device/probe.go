package device

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// reader reads small text files and collects what makes no sense in them.
type reader struct {
	root fs.FS
	errs []error
}

const maxFile = 1 << 20 // cpuinfo of 256 cores has 400 KB

// text is the content of a file without surrounding white space and NUL, "" when it cannot be read: a missing file, and
// also a sensor that is asleep, is nothing to complain of.
func (r *reader) text(name string) string {
	f, err := r.root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ""
	}
	return string(bytes.Trim(b, " \t\r\n\x00"))
}

// integer is the number in a file; ok is false when the file is missing or, with an error noted, senseless.
func (r *reader) integer(name string) (n int64, ok bool) {
	s := r.text(name)
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		r.senseless(name, s)
		return 0, false
	}
	return n, true
}

func (r *reader) senseless(name, content string) {
	r.errs = append(r.errs, fmt.Errorf("/%s: cannot make sense of %.40q", name, content))
}

// list is the sorted names that match a glob pattern.
func (r *reader) list(pattern string) []string {
	names, err := fs.Glob(r.root, pattern)
	if err != nil {
		panic("device: malformed glob pattern")
	}
	return names
}

func (r *reader) board() string {
	if s := r.text("sys/firmware/devicetree/base/model"); s != "" {
		return s
	}
	if s := r.text("proc/device-tree/model"); s != "" {
		return s
	}
	vendor, product := r.text("sys/class/dmi/id/sys_vendor"), r.text("sys/class/dmi/id/product_name")
	return strings.TrimSpace(vendor + " " + product)
}

// field splits a line "key : value".
func field(line string) (key, value string) {
	key, value, _ = strings.Cut(line, ":")
	return strings.TrimSpace(key), strings.TrimSpace(value)
}

// armParts names the cores of boards and servers by "CPU part" where the implementer is Arm (0x41).
var armParts = map[string]string{
	"0xb76": "ARM1176", "0xc07": "Cortex-A7", "0xc08": "Cortex-A8", "0xc09": "Cortex-A9", "0xc0f": "Cortex-A15",
	"0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
	"0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77",
	"0xd40": "Neoverse-V1", "0xd41": "Cortex-A78", "0xd42": "Cortex-A78AE", "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
}

// cpuName is the model name on x86; on Arm, which has none, the kinds of cores.
func (r *reader) cpuName() string {
	var model, implementer string
	var kinds []string
	count := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(r.text("proc/cpuinfo")))
	lines.Buffer(nil, maxFile)
	for lines.Scan() {
		switch key, value := field(lines.Text()); key {
		case "model name":
			if model == "" {
				model = strings.Join(strings.Fields(value), " ")
			}
		case "CPU implementer":
			implementer = value
		case "CPU part":
			kind := armParts[value]
			if implementer != "0x41" || kind == "" {
				kind = "core " + implementer + ":" + value
			}
			if count[kind]++; count[kind] == 1 {
				kinds = append(kinds, kind)
			}
		}
	}
	if len(kinds) == 0 {
		return model
	}
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d × %s", count[kind], kind)
	}
	return strings.Join(kinds, " + ")
}

// cores is the number of cores that are switched on.
func (r *reader) cores() int {
	const name = "sys/devices/system/cpu/online"
	s := r.text(name)
	if s == "" {
		n := 0
		for line := range strings.Lines(r.text("proc/cpuinfo")) {
			if key, _ := field(line); key == "processor" {
				n++
			}
		}
		return n
	}
	n := 0
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || to < from {
			r.senseless(name, s)
			return 0
		}
		n += int(to-from) + 1
	}
	return n
}

func (r *reader) caches() []Cache {
	var out []Cache
	seen := map[string]bool{} // a cache is listed by each core that shares it
	for _, dir := range r.list("sys/devices/system/cpu/cpu[0-9]*/cache/index[0-9]*") {
		level, ok := r.integer(dir + "/level")
		size := r.text(dir + "/size")
		if !ok || size == "" {
			continue
		}
		kind := r.text(dir + "/type")
		shared := r.text(dir + "/shared_cpu_list")
		if shared == "" {
			shared = path.Dir(path.Dir(dir))
		}
		if id := fmt.Sprint(level, kind, shared); seen[id] {
			continue
		} else {
			seen[id] = true
		}
		digits, isKilo := strings.CutSuffix(size, "K")
		kilo, err := strconv.ParseInt(digits, 10, 32)
		if !isKilo || err != nil {
			r.senseless(dir+"/size", size)
			continue
		}
		c := Cache{Level: int(level), Type: kind, Bytes: kilo << 10, Count: 1}
		same := func(o Cache) bool { return o.Level == c.Level && o.Type == c.Type && o.Bytes == c.Bytes }
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i].Count++
		} else {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b Cache) int { return a.Level - b.Level })
	return out
}

// clocks reads the cpufreq policies; their files are in kHz.
func (r *reader) clocks() []Clock {
	var out []Clock
	dirs := r.list("sys/devices/system/cpu/cpufreq/policy[0-9]*")
	if len(dirs) == 0 {
		dirs = r.list("sys/devices/system/cpu/cpu0/cpufreq")
	}
	for _, dir := range dirs {
		mhz := func(name string) int {
			kilo, _ := r.integer(dir + "/" + name)
			return int(kilo / 1000)
		}
		c := Clock{
			Cores:    strings.ReplaceAll(r.text(dir+"/affected_cpus"), " ", ","),
			Governor: r.text(dir + "/scaling_governor"),
			MHz:      mhz("scaling_cur_freq"),
			MaxMHz:   mhz("cpuinfo_max_freq"),
		}
		if limit := mhz("scaling_max_freq"); limit > 0 && limit < c.MaxMHz {
			c.CapMHz = limit
		}
		if c != (Clock{}) {
			out = append(out, c)
		}
	}
	return out
}

func (r *reader) memory() Memory {
	const name = "proc/meminfo"
	var m Memory
	for line := range strings.Lines(r.text(name)) {
		key, value := field(line)
		var to *int64
		switch key {
		case "MemTotal":
			to = &m.Total
		case "MemAvailable":
			to = &m.Available
		case "SwapTotal":
			to = &m.Swap
		default:
			continue
		}
		digits, _ := strings.CutSuffix(value, " kB")
		kilo, err := strconv.ParseUint(digits, 10, 50)
		if err != nil {
			r.senseless(name, strings.TrimSpace(line))
			continue
		}
		*to = int64(kilo) << 10
	}
	return m
}

func (r *reader) temperatures() []Temperature {
	var out []Temperature
	for _, dir := range r.list("sys/class/thermal/thermal_zone[0-9]*") {
		milli, ok := r.integer(dir + "/temp")
		if !ok {
			continue
		}
		zone := r.text(dir + "/type")
		if zone == "" {
			zone = path.Base(dir)
		}
		out = append(out, Temperature{zone, float64(milli) / 1000})
	}
	return out
}

// power reads the Raspberry Pi's under-voltage alarm, and on kernels without it the firmware's flags, whose file newer
// kernels answer with a warning in their log.
func (r *reader) power() *Power {
	for _, dir := range r.list("sys/class/hwmon/hwmon[0-9]*") {
		if r.text(dir+"/name") != "rpi_volt" {
			continue
		}
		if alarm, ok := r.integer(dir + "/in0_lcrit_alarm"); ok {
			return &Power{UnderVoltage: alarm != 0}
		}
	}
	for _, name := range r.list("sys/devices/platform/*/*firmware/get_throttled") {
		s := r.text(name)
		bits, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 32)
		if err != nil {
			r.senseless(name, s)
			continue
		}
		is := func(bit int) bool { return bits>>bit&1 != 0 }
		return &Power{
			UnderVoltage: is(0), FrequencyCapped: is(1), Throttled: is(2), SoftLimit: is(3),
			WasUnderVoltage: is(16), WasCapped: is(17), WasThrottled: is(18), WasSoftLimit: is(19),
		}
	}
	return nil
}
