package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/drill"
)

// printReport writes the report to standard output.
func printReport(c *cobra.Command, r drill.Report, format string) error {
	if format == "json" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), string(text))
		return err
	}
	_, err := fmt.Fprint(c.OutOrStdout(), Harmless(r.Text()))
	return err
}
