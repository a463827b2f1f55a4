package main

import (
	"fmt"
	"math"
	"time"

	"edgejepa/internal/cli"
)

// Memory cards wear by what is written to them, so a run says how much that is: what it will be at most, and what it was.

const (
	day         = 24 * time.Hour
	lineBytes   = 640       // of a line of metrics.jsonl
	reportBytes = 512 << 10 // of a report with pictures
	shortest    = time.Second
)

// dailyWrites bounds the bytes that a run writes in its first day, in which most reports fall, with a checkpoint every so
// often. What depends on its length comes beside: see runWrites.
func (p *plan) dailyWrites(every time.Duration, eval, report bool) int64 {
	checkpoint, encoders := p.config.Run.FileBytes()
	if !eval {
		checkpoint += encoders // best.safetensors, whenever a checkpoint is written
	}
	bytes := float64(checkpoint)*float64(day)/float64(every) + lineBytes*float64(day)/float64(logEvery)
	if report {
		hours := float64(reportEvery) * reportSlower / float64(time.Hour) // for so long at equal distances
		bytes += reportBytes * reportSlower * (1 + math.Log(day.Hours()/hours))
	}
	return int64(bytes)
}

// evals is how many evaluations a run has, so many steps apart; 0 without --eval.
func (p *plan) evals(labelled string, every int) int {
	switch {
	case labelled == "":
		return 0
	case every > 0:
		return (p.config.Run.Steps + every - 1) / every
	}
	return defaultEvals
}

// runWrites is how many bytes the whole run writes at most beside the daily ones.
func (p *plan) runWrites(evals int) int64 {
	checkpoint, encoders := p.config.Run.FileBytes()
	return (rollbackParts-1)*checkpoint + int64(evals)*(encoders+lineBytes)
}

// describeWrites says what the run will write.
func (p *plan) describeWrites(out *cli.Progress, every time.Duration, evals int, report bool) {
	checkpoint, _ := p.config.Run.FileBytes()
	if every < shortest {
		out.Infof("writes: a checkpoint of %s up to every step, which wears a memory card: raise --checkpoint-every", cli.Bytes(checkpoint))
		return
	}
	out.Infof("writes: at most %s a day with a checkpoint of %s every %s, and %s in the whole run to go back to and for evaluations",
		cli.Bytes(p.dailyWrites(every, evals > 0, report)), cli.Bytes(checkpoint), cli.Span(every), cli.Bytes(p.runWrites(evals)))
}

// writesText says what was written in a time, and how much a day that would be if it was long enough to say.
func writesText(bytes int64, took time.Duration) string {
	s := fmt.Sprintf("wrote %s in %s", cli.Bytes(bytes), cli.Span(took))
	if took >= 10*time.Minute {
		s += fmt.Sprintf(", at a rate of %s a day", cli.Bytes(int64(float64(bytes)*float64(day)/float64(took))))
	}
	return s
}
