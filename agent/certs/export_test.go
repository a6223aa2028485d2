package certs

import "time"

// Check judges files by their names and returns what would be stored of them: for what is
// easier tried without a folder.
func Check(content map[string][]byte, now time.Time) (Certificate, map[string][]byte, error) {
	s, err := check(content, now)
	if err != nil {
		return Certificate{}, nil, err
	}
	return s.about, s.files, nil
}

// Take reads what is mounted at once.
func (f *Folder) Take() (bool, error) { return f.take() }
