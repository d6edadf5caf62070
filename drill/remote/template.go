// Package remote is the drill's way to members on hosts of their own: a command
// that a person names, such as `ssh root@{host}`, by which this program is run
// there (drill/hand). It is made of words; no shell reads it here.
//
// The command must need nobody who answers: the way back is gone by a second
// process, which has no terminal. So it has none from the beginning.
package remote

import (
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/matriarch-ha/matriarch/drill"
)

// place is what stands for the member's host.
const place = "{host}"

// program is what is run there where the command does not end with it.
const program = "matriarch"

// template is a command with places for the host.
type template []string

// parse reads a command. The first word becomes a path, since the second process
// stands in another directory.
func parse(text string) (template, error) {
	if i := strings.IndexAny(text, `'"\`); i >= 0 {
		return nil, fmt.Errorf("--reach %s: the command is split at blanks, and quotes such as %c have no meaning in it: put what needs them into a script", text, text[i])
	}
	words := strings.Fields(text)
	if !strings.Contains(text, place) {
		return nil, fmt.Errorf("--reach %s: the command must hold %s, which stands for the host of a member's api_url: 'ssh root@%s'", text, place, place)
	}
	if strings.Contains(words[0], place) {
		return nil, fmt.Errorf("--reach %s: begin with the program to run: 'ssh root@%s'", text, place)
	}
	file, err := exec.LookPath(words[0])
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return nil, fmt.Errorf("--reach %s: %w", text, err)
	}
	words[0] = file
	if path.Base(words[len(words)-1]) != program {
		words = append(words, program)
	}
	return words, nil
}

// hostName is what may stand in a command line: no option, nothing that a shell
// at the other end would take for more than a word.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_:][A-Za-z0-9_.:-]*$`)

// with puts a member's host in its place.
func (t template) with(host string) ([]string, error) {
	if !hostName.MatchString(host) {
		return nil, fmt.Errorf("the host %q of the member's api_url cannot stand in a command", host)
	}
	var out []string
	for _, w := range t {
		out = append(out, strings.ReplaceAll(w, place, host))
	}
	return out, nil
}

// address is the host and the port of a member's REST interface.
func address(m drill.Member) (host string, port int, err error) {
	u, err := url.Parse(m.Base)
	if err == nil && u.Hostname() == "" {
		err = errors.New("it names no host")
	}
	if err != nil {
		return "", 0, fmt.Errorf("api_url of %s: %w", m.Name, err)
	}
	text := u.Port()
	switch {
	case text == "" && u.Scheme == "https":
		text = "443"
	case text == "":
		text = "80"
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("api_url of %s: port %q is not a number from 1 to 65535", m.Name, text)
	}
	return u.Hostname(), int(n), nil
}
