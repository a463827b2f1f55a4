package device

import (
	"path"
	"strconv"
	"strings"
)

// controlGroup is the tightest limits of the process's control groups, version 1 or 2, and of the groups around them:
// cores (0: none) and bytes (0: none).
func (r *reader) controlGroup() (cores float64, bytes int64) {
	tighten := func(c float64, b int64) {
		if c > 0 && (cores == 0 || c < cores) {
			cores = c
		}
		if b > 0 && (bytes == 0 || b < bytes) {
			bytes = b
		}
	}
	for line := range strings.Lines(r.text("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // 4:memory:/group or 0::/group
		if len(parts) != 3 {
			r.senseless("proc/self/cgroup", line)
			continue
		}
		controllers, group := parts[1], parts[2]
		if controllers == "" {
			for _, mount := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
				for _, dir := range upwards(mount, group) {
					tighten(r.quotaV2(dir+"/cpu.max"), r.limitV2(dir+"/memory.max"))
				}
			}
			continue
		}
		for controller := range strings.SplitSeq(controllers, ",") {
			for _, mount := range []string{"sys/fs/cgroup/" + controller, "sys/fs/cgroup/" + controllers} {
				for _, dir := range upwards(mount, group) {
					switch controller {
					case "cpu":
						tighten(r.quotaV1(dir), 0)
					case "memory":
						tighten(0, r.limitV1(dir+"/memory.limit_in_bytes"))
					}
				}
			}
		}
	}
	return cores, bytes
}

// upwards is the folder of group under mount and those around it, mount last. In a container the group's path is often
// that of the host and only mount exists.
func upwards(mount, group string) []string {
	var dirs []string
	for group = path.Clean("/" + group); group != "/"; group = path.Dir(group) {
		dirs = append(dirs, mount+group)
	}
	return append(dirs, mount)
}

// limitV2 reads "max" or bytes.
func (r *reader) limitV2(name string) int64 {
	if r.text(name) == "max" {
		return 0
	}
	n, _ := r.integer(name)
	return n
}

// limitV1 reads bytes; no limit is a number near 2^63.
func (r *reader) limitV1(name string) int64 {
	if n, _ := r.integer(name); n < 1<<60 {
		return n
	}
	return 0
}

// quotaV2 reads "max 100000" or "150000 100000": microseconds of CPU in each period.
func (r *reader) quotaV2(name string) float64 {
	s := r.text(name)
	quota, period, ok := strings.Cut(s, " ")
	if s == "" || quota == "max" {
		return 0
	}
	q, err1 := strconv.ParseUint(quota, 10, 50)
	p, err2 := strconv.ParseUint(period, 10, 50)
	if !ok || err1 != nil || err2 != nil || p == 0 {
		r.senseless(name, s)
		return 0
	}
	return float64(q) / float64(p)
}

// quotaV1 reads the quota, -1 for none, and the period in microseconds.
func (r *reader) quotaV1(dir string) float64 {
	quota, ok1 := r.integer(dir + "/cpu.cfs_quota_us")
	period, ok2 := r.integer(dir + "/cpu.cfs_period_us")
	if !ok1 || !ok2 || quota <= 0 || period <= 0 {
		return 0
	}
	return float64(quota) / float64(period)
}
