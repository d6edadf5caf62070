package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/config"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// configTimeout bounds asking for the dynamic configuration; the file's part is
// shown without it.
const configTimeout = 10 * time.Second

// configCommand holds what is about the members' own files.
func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Look at the configuration of a member",
		Long:  "Looks at what a member reads from its file, its environment and the cluster.",
		Args:  args(cobra.NoArgs), Example: a.examples("{} config show --origin /etc/patroni.yml"),
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.configShowCommand())
	return c
}

func (a *app) configShowCommand() *cobra.Command {
	var withOrigin bool
	var format, role string
	c := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the effective configuration of a member, and where each value comes from",
		Long: "Shows every setting that holds for a member: its file and environment over the dynamic\n" +
			"configuration, which a member of the cluster is asked for, over the defaults. Secrets are hidden.",
		Example: a.examples("{} config show --origin /etc/patroni.yml", "{} -c /etc/patroni.yml config show -f json"),
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, files []string) error {
			f, err := parseFormat(format)
			if err == nil && role != "primary" && role != "replica" && role != "standby_leader" {
				err = fmt.Errorf("invalid value for --role: %q is not one of primary, replica, standby_leader", role)
			}
			if err != nil {
				return usage(c, err)
			}
			if len(files) > 0 {
				if _, err := os.Stat(files[0]); err != nil {
					return err
				}
				a.configFile = files[0]
			}
			return a.configShow(c, withOrigin, f, role)
		},
	}
	c.Flags().BoolVar(&withOrigin, "origin", false, "say where each value comes from")
	c.Flags().StringVarP(&format, "format", "f", formatPretty, "pretty, tsv, json, yaml")
	c.Flags().StringVar(&role, "role", "replica", "role whose parameters hold: primary, replica, standby_leader")
	return c
}

func (a *app) configShow(c *cobra.Command, withOrigin bool, format, role string) error {
	x, err := a.connect(c, "")
	if err != nil {
		return err
	}
	defer x.close()
	if x.file == nil {
		return usage(c, errors.New("no configuration is given: name the FILE, or give -c FILE"))
	}
	dynamic, known := x.dynamicConfig(c.Context())
	settings := config.Explain(x.file, dynamic, known, role)
	switch format {
	case formatJSON, formatYAML:
		rows := make([]pyjson.Object, len(settings))
		for i, s := range settings {
			rows[i] = rows[i].Set("setting", s.Path).Set("value", s.Value)
			if withOrigin {
				rows[i] = rows[i].Set("origin", s.Origin)
			}
		}
		text, err := objects(rows, format)
		fmt.Fprint(c.OutOrStdout(), text)
		return err
	case formatTSV:
		columns := []column{{title: "Setting"}, {title: "Value"}, {title: "Origin"}}
		n := 2
		if withOrigin {
			n = 3
		}
		var rows [][]string
		for _, s := range settings {
			rows = append(rows, []string{s.Path, s.Value, s.Origin}[:n])
		}
		fmt.Fprint(c.OutOrStdout(), tsv(columns[:n], rows))
		return nil
	}
	fmt.Fprint(c.OutOrStdout(), settingTable(settings, withOrigin, a.screen(c) != nil))
	return nil
}

// dynamicConfig asks for what all members share; without an answer it says so.
func (x *access) dynamicConfig(ctx context.Context) (config.Dynamic, bool) {
	ctx, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	conf, err := x.config(ctx)
	var d config.Dynamic
	var warnings []config.Warning
	if err == nil {
		var text []byte
		if text, err = pyjson.Marshal(conf.doc); err == nil {
			d, warnings, err = config.ParseDynamic(string(text))
		}
	}
	if err != nil {
		warn(x.cmd, "the dynamic configuration is not known, and its settings are not shown: %v", err)
		return config.DefaultDynamic(), false
	}
	for _, w := range warnings {
		warn(x.cmd, "dynamic configuration: %s", w)
	}
	return d, true
}

// The widths of the columns, which fit a terminal together.
const (
	settingWidth = 40
	valueWidth   = 20
	originWidth  = 18
)

// settingTable writes settings in columns. What is too long goes on below for a
// terminal; programs that read lines get each setting in one.
func settingTable(settings []config.Setting, withOrigin, wrapped bool) string {
	widths := []int{settingWidth, valueWidth, originWidth}
	if !withOrigin {
		widths = []int{settingWidth, valueWidth + originWidth + 1}
	}
	var b strings.Builder
	writeColumns(&b, []string{"SETTING", "VALUE", "FROM"}[:len(widths)], widths, wrapped)
	for _, s := range settings {
		writeColumns(&b, []string{s.Path, s.Value, shortOrigin(s.Origin)}[:len(widths)], widths, wrapped)
	}
	return b.String()
}

// shortOrigin leaves out what the reader knows: the directory and the column.
func shortOrigin(origin string) string {
	if file, place, ok := strings.Cut(origin, ":"); ok && !strings.HasPrefix(origin, "env ") {
		line, _, _ := strings.Cut(place, ":")
		return filepath.Base(file) + ":" + line
	}
	return origin
}

func writeColumns(b *strings.Builder, cells []string, widths []int, wrapped bool) {
	lines := make([][]string, len(cells))
	height := 1
	for i, cell := range cells {
		if lines[i] = []string{oneLine(cell)}; wrapped {
			lines[i] = wrap(cell, widths[i])
		}
		for n := 1; i == 0 && n < len(lines[i]); n++ {
			lines[i][n] = "  " + lines[i][n] // not the next setting
		}
		height = max(height, len(lines[i]))
	}
	for n := range height {
		line := ""
		for i := range cells {
			text := ""
			if n < len(lines[i]) {
				text = lines[i][n]
			}
			line += text + strings.Repeat(" ", max(1, widths[i]+1-utf8.RuneCountInString(text)))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// oneLine keeps what several lines hold in one.
func oneLine(text string) string {
	return strings.NewReplacer("\n", "\\n", "\t", " ").Replace(text)
}

// wrap cuts a text into pieces of at most width, after a dot, a comma, a slash,
// an underscore or a space where there is one in the second half.
func wrap(text string, width int) []string {
	r := []rune(oneLine(text))
	var out []string
	for len(r) > width {
		if len(out) == 1 {
			width -= 2 // for the indentation of what goes on
		}
		cut := width
		for i := width; i > width/2; i-- {
			if strings.ContainsRune("., /_", r[i-1]) {
				cut = i
				break
			}
		}
		out = append(out, string(r[:cut]))
		r = r[cut:]
	}
	return append(out, string(r))
}
