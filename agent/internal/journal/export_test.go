package journal

// State is what all records so far make of the run: those in the file, and those that wait.
func (j *Journal) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	file, err := j.disk.Open(Path(j.dir))
	if err != nil {
		file, err = j.disk.Open(deadPath(j.dir))
	}
	if err != nil {
		panic(err)
	}
	defer file.Close()
	data := make([]byte, j.written)
	if _, err := file.ReadAt(data, 0); err != nil {
		panic(err)
	}
	p, err := replay(append(data, j.lines...))
	if err != nil {
		panic(err)
	}
	return p.state
}
