package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

// editOptions are the ways to change the configuration.
type editOptions struct {
	quiet, force   bool
	set, pg        []string
	apply, replace string
}

func (o editOptions) given() bool {
	return len(o.set) > 0 || len(o.pg) > 0 || o.apply != "" || o.replace != ""
}

func (a *app) editConfigCommand() *cobra.Command {
	var o editOptions
	c := &cobra.Command{
		Use:   "edit-config [CLUSTER]",
		Short: "Change the dynamic configuration",
		Long: "Changes the configuration that all members share: in $EDITOR, or by options. The difference is\n" +
			"shown and confirmed first, with what members will warn of, and nothing is written when somebody\n" +
			"else changed it meanwhile. A value of null deletes a key.",
		Example: a.examples("{} edit-config", "{} edit-config -s synchronous_mode=true", "{} edit-config -p max_connections=200 --force",
			"{} edit-config --apply patch.yml"),
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, names []string) error { return a.editConfig(c, clusterArg(names), o) },
	}
	f := c.Flags()
	f.BoolVarP(&o.quiet, "quiet", "q", false, "do not show the difference")
	f.StringArrayVarP(&o.set, "set", "s", nil, "set `KEY.PATH=VALUE` (may be repeated)")
	f.StringArrayVarP(&o.pg, "pg", "p", nil, "set `PARAMETER=VALUE`, short for -s postgresql.parameters.PARAMETER=VALUE")
	f.StringVar(&o.apply, "apply", "", "merge a YAML `FILE`, - is stdin")
	f.StringVar(&o.replace, "replace", "", "replace by a YAML `FILE`, - is stdin")
	f.BoolVar(&o.force, "force", false, "do not ask")
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) editConfig(c *cobra.Command, name string, o editOptions) error {
	x, err := a.connect(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	old, err := x.config(c.Context())
	if err != nil {
		return err
	}
	edited, err := a.edited(c, old.doc, o)
	if err != nil {
		return err
	}
	if pyjson.Equal(old.doc, edited) {
		say(c, "Not changed")
		return nil
	}
	if !o.quiet {
		if err := a.showDifference(c, toYAML(old.doc), toYAML(edited)); err != nil {
			return err
		}
	}
	x.advise(c, old.doc, edited)
	if !o.force {
		if o.apply == "-" || o.replace == "-" {
			say(c, "Use --force option to apply changes")
			return nil
		}
		yes, err := newPrompter(c).confirm("Apply these changes?")
		if err != nil || !yes {
			return err
		}
	}
	if err := x.replaceConfig(c.Context(), old, edited); err != nil {
		return err
	}
	say(c, "Configuration changed")
	return nil
}

// edited applies the options in their order, or lets a person edit.
func (a *app) edited(c *cobra.Command, doc pyjson.Object, o editOptions) (pyjson.Object, error) {
	if !o.given() {
		return a.inEditor(c, doc)
	}
	if o.replace != "" {
		var err error
		if doc, err = readYAML(c, o.replace); err != nil {
			return nil, err
		}
	}
	if o.apply != "" {
		patch, err := readYAML(c, o.apply)
		if err != nil {
			return nil, err
		}
		doc, _ = pyjson.Merge(doc, patch)
	}
	for _, s := range o.set {
		var err error
		if doc, err = setValue(doc, s); err != nil {
			return nil, usage(c, err)
		}
	}
	for _, s := range o.pg {
		var err error
		if doc, err = setValue(doc, "postgresql.parameters."+s); err != nil {
			return nil, usage(c, err)
		}
	}
	return doc, nil
}

// readYAML reads a mapping from a file or from stdin.
func readYAML(c *cobra.Command, path string) (pyjson.Object, error) {
	var text []byte
	var err error
	if path == "-" {
		path = "standard input"
		text, err = io.ReadAll(c.InOrStdin())
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, err
	}
	return mapping(path, text)
}

func mapping(where string, text []byte) (pyjson.Object, error) {
	v, err := fromYAML(where, text)
	if err != nil {
		return nil, err
	}
	o, ok := v.(pyjson.Object)
	if !ok && v != nil {
		return nil, fmt.Errorf("%s: want a mapping of settings", where)
	}
	return o, nil
}

// setValue applies KEY.PATH=VALUE. Below postgresql.parameters dots belong to
// the name. An empty value or null deletes the key, and mappings that become
// empty.
func setValue(doc pyjson.Object, assignment string) (pyjson.Object, error) {
	path, text, ok := strings.Cut(assignment, "=")
	if !ok || strings.TrimSpace(path) == "" {
		return nil, fmt.Errorf("invalid parameter setting %q: want KEY=VALUE", assignment)
	}
	value, err := scalar(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("value of %s: %w", path, err)
	}
	return setPath(doc, splitPath(strings.TrimSpace(path)), value), nil
}

// scalar reads a value as YAML; bare words for yes and no become switches, as
// readers of the older YAML have them.
func scalar(text string) (any, error) {
	switch strings.ToLower(text) {
	case "on", "yes":
		return true, nil
	case "off", "no":
		return false, nil
	}
	return fromYAML("the value", []byte(text))
}

func splitPath(path string) []string {
	const parameters = "postgresql.parameters."
	if name, ok := strings.CutPrefix(path, parameters); ok {
		return []string{"postgresql", "parameters", name}
	}
	return strings.Split(path, ".")
}

func setPath(doc pyjson.Object, path []string, value any) pyjson.Object {
	doc = append(pyjson.Object(nil), doc...)
	if len(path) == 1 {
		if value == nil {
			return doc.Delete(path[0])
		}
		return doc.Set(path[0], value)
	}
	child, _ := doc.Get(path[0])
	below, _ := child.(pyjson.Object)
	below = setPath(below, path[1:], value)
	if len(below) == 0 {
		return doc.Delete(path[0])
	}
	return doc.Set(path[0], below)
}

// inEditor lets a person edit the document as YAML in a file that nobody else
// can read.
func (a *app) inEditor(c *cobra.Command, doc pyjson.Object) (pyjson.Object, error) {
	editor := getenv(a.opts.Env, "EDITOR")
	for _, known := range []string{"editor", "vi"} {
		if editor != "" {
			break
		}
		if path, err := exec.LookPath(known); err == nil {
			editor = path
		}
	}
	if editor == "" {
		return nil, errors.New("EDITOR environment variable is not set, and editor or vi is not available")
	}
	dir, err := os.MkdirTemp("", "matriarch-config-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(toYAML(doc)), 0o600); err != nil {
		return nil, err
	}
	// $EDITOR may hold arguments.
	words := append(strings.Fields(editor), path)
	cmd := exec.CommandContext(c.Context(), words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = c.OutOrStdout(), c.ErrOrStderr()
	if in, ok := c.InOrStdin().(*os.File); ok { // anything else would be drained, and the confirmation with it
		cmd.Stdin = in
	}
	if err := cmd.Run(); err != nil {
		// Not wrapped: the editor's exit code is not ours.
		return nil, fmt.Errorf("editor %s: %v", words[0], err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return mapping("the edited configuration", text)
}
