package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// anyMajor is a version of PostgreSQL that knows all controlled parameters.
const anyMajor = 17

// advise tells what the new configuration has that members will warn of or not
// accept, as far as the old one did not have it already. Whether it is accepted
// is for the member that is asked.
func (x *access) advise(c *cobra.Command, old, edited pyjson.Object) {
	known := x.advice(old)
	for _, line := range x.advice(edited) {
		if !slices.Contains(known, line) {
			warn(c, "Warning: %s", line)
		}
	}
}

func (x *access) advice(doc pyjson.Object) []string {
	text, err := doc.MarshalJSON()
	if err != nil {
		return nil
	}
	d, warnings, err := config.ParseDynamic(string(text))
	var problems config.Problems
	if errors.As(err, &problems) {
		return strings.Split(problems.Error(), "\n")
	}
	f := x.file
	if f == nil {
		if f, _, err = config.Load("", nil); err != nil {
			return nil
		}
	}
	for _, role := range []string{"primary", "replica"} {
		warnings = append(warnings, config.MakeEffective(f, d, role, anyMajor).Warnings...)
	}
	var lines []string
	for _, w := range warnings {
		w.Place = "" // of the document as it is sent, which nobody sees
		lines = append(lines, w.String())
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}
