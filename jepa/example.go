package jepa

// DrawMasks draws what a step hides of that many pictures, and returns the number of target blocks a picture: 0 for an
// objective that hides nothing.
func (c Config) DrawMasks(step, pictures int) (m Masks, targets int) {
	switch c.Objective {
	case IJEPA:
		NewSampler(c.Masks).Sample(&m, c.Seed, step, pictures)
		return m, c.Masks.Targets
	case MAE:
		c.Batch = pictures
		m.scatter(c, step)
		return m, 1
	}
	return m, 0
}
