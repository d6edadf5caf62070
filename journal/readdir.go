package journal

import "fmt"

// ReadDir returns the newest n records in a journal's directory, oldest first. It
// changes nothing there, so that the journal of a dead member can be read, or one
// that an agent is writing.
func ReadDir(dir string, n int) ([]Record, error) {
	all, err := files(dir)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no journal: there are no files %s*%s in it", dir, filePrefix, fileSuffix)
	}
	return readNewest(dir, n, 0)
}
