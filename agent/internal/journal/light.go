package journal

// What a light State knows of an artifact, in the place of where it is in Added.
const (
	addedArtifact = iota
	storedArtifact
)

// lighten forgets what no rule asks for: of an artifact, all but its name and whether it is stored. Of ten thousand that is megabytes.
func (s *State) lighten() {
	s.light = true
	for name := range s.names {
		s.names[name] = addedArtifact
		if _, stored := s.Stored[name]; stored {
			s.names[name] = storedArtifact
			delete(s.Stored, name)
		}
	}
	s.Added = nil
}
