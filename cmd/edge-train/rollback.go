package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"edgejepa/internal/cli"
	"edgejepa/internal/durable"
	"edgejepa/internal/safetensors"
)

// A rollback point is a checkpoint to which a run that diverges goes back. Where checkpoints fall depends on the clock and
// on when a run was stopped; rollback points fall on steps that the length of the run decides, if the gradient is sound
// there, so that runs of equal settings go back to equal states. A checkpoint may hold a state that is already lost, a
// rollback point does not.

const (
	rollbackParts = 10  // of a run, each with a rollback point at its end but the last
	rollbackLeast = 100 // steps between two: memory cards wear, and these are soon done again
)

// rollbackEvery is how many steps lie between two rollback points of a run.
func rollbackEvery(steps int) int {
	return max(rollbackLeast, (steps+rollbackParts-1)/rollbackParts)
}

// saveRollback makes the present state the rollback point. If it cannot be written the run goes on: what it risks is to
// go back further.
func (t *training) saveRollback() {
	defer t.notify.Patient(patience)()
	if err := durable.WriteFile(filepath.Join(t.dir, rollbackFile), 0o644, t.trainer.WriteCheckpoint); err != nil {
		t.progress.Warnf("if the run diverges it goes back further: %v", err)
	}
}

// dropRollback removes the rollback point of a run that is done.
func (t *training) dropRollback() error {
	return durable.Remove(filepath.Join(t.dir, rollbackFile))
}

// checkRollback makes up for a rollback point that a resumed run should have and has not, as when a damaged checkpoint
// sent it further back than that.
func (t *training) checkRollback() error {
	if done, steps := t.trainer.Done(), t.config.Run.Steps; done < rollbackEvery(steps) || done >= steps || t.trainer.Unsound > 0 {
		return nil
	}
	f, err := t.openRollback()
	if err != nil {
		t.saveRollback()
		return nil
	}
	return f.Close()
}

// openRollback opens the rollback point. One that is from after the present step is of a course that the run did not take,
// and as good as none: the error is fs.ErrNotExist.
func (t *training) openRollback() (*safetensors.File, error) {
	path := filepath.Join(t.dir, rollbackFile)
	f, err := safetensors.Stream(path)
	if err != nil {
		return nil, err
	}
	step, err := strconv.Atoi(f.Metadata["step"])
	if err != nil {
		err = fmt.Errorf("%s: its step is %q", path, f.Metadata["step"])
	} else if step > t.trainer.Done() {
		err = fmt.Errorf("%s: it is of step %d: %w", path, step, fs.ErrNotExist)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// restoreRollback sets the trainer to the rollback point, or to the start if there is none; the log ends there too. In place
// of a damaged one it takes the newest checkpoint, unless that was on its way to where the run is.
func (t *training) restoreRollback() error {
	f, err := t.openRollback()
	if err == nil {
		if err = f.Verify(); err == nil {
			return errors.Join(t.trainer.Restore(f), f.Close(), t.cutLog(true))
		}
		err = errors.Join(err, f.Close())
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.progress.Warnf("the state to go back to is damaged: %v", err)
		found, err := t.restore()
		if err != nil {
			return err
		}
		if found && t.trainer.Unsound == 0 {
			return nil
		}
	}
	if t.config.InitFrom != "" && t.plan.init == nil {
		return cli.Usagef("the run diverged and goes back to its start: --resume it with its --init-from")
	}
	t.trainer.Init()
	if t.plan.init != nil {
		if err := t.trainer.InitFrom(t.plan.init); err != nil {
			return err
		}
	}
	return t.cutLog(true)
}
