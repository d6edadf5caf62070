package cli

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documented reads docs/cli.md: the state of "command" and of
// "command --option", and the letter of the option.
func documented(t *testing.T) (states, letters map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	states, letters = map[string]string{}, map[string]string{}
	long, short := regexp.MustCompile("`--([a-z0-9-]+)`"), regexp.MustCompile("`-([a-zA-Z])`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.Contains(line, "---") {
			continue
		}
		command, option, state := strings.TrimSpace(cells[1]), cells[2], strings.TrimSpace(cells[3])
		if command == "command" {
			continue
		}
		if strings.TrimSpace(option) == "" {
			states[command] = state
		}
		for _, m := range long.FindAllStringSubmatch(option, -1) {
			key := command + " --" + m[1]
			states[key] = state
			if s := short.FindStringSubmatch(option); s != nil && letters[command+"-"+s[1]] == "" {
				letters[command+"-"+s[1]] = key
				letters[key] = s[1]
			}
		}
	}
	return states, letters
}

// commandTree lists the commands and their options as documented does.
func commandTree(root *cobra.Command) map[string]string {
	out := map[string]string{}
	flags := func(command string, set *pflag.FlagSet, shared bool) {
		set.VisitAll(func(f *pflag.Flag) {
			if _, all := f.Annotations[common]; all == shared && f.Name != "help" {
				out[command+" --"+f.Name] = f.Shorthand
			}
		})
	}
	for _, c := range root.Commands() {
		if c.Name() == "help" || c.HasSubCommands() {
			continue
		}
		out[c.Name()] = ""
		flags(c.Name(), c.Flags(), false)
	}
	flags("all", root.Flags(), true)
	return out
}

// elsewhere are commands with a page of their own.
func elsewhere(name string) bool {
	command, _, _ := strings.Cut(name, " ")
	return slices.Contains([]string{"config", "validate", "generate-config"}, command)
}

// TestDocumentedCommands: docs/cli.md has every command and option, with its
// letter, and none that does not exist.
func TestDocumentedCommands(t *testing.T) {
	states, letters := documented(t)
	exist := commandTree(NewWith(Options{Version: "0"}))
	for _, name := range slices.Sorted(maps.Keys(exist)) {
		if elsewhere(name) {
			continue
		}
		state, ok := states[name]
		group := strings.HasSuffix(name, " --group")
		switch {
		case !ok:
			t.Errorf("docs/cli.md lacks %s", name)
		case group != (state == "not there"):
			t.Errorf("docs/cli.md says that %s is %s", name, state)
		case letters[name] != exist[name]:
			t.Errorf("docs/cli.md gives %s the letter %q, it is %q", name, letters[name], exist[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		state := states[name]
		if !slices.Contains([]string{"same", "better", "not there", "ours"}, state) {
			t.Errorf("docs/cli.md: %s has the state %q", name, state)
		}
		_, ok := exist[name]
		if builtIn := name == "all --help" || name == "all --version"; !ok && state != "not there" && !builtIn {
			t.Errorf("docs/cli.md has %s, which does not exist", name)
		}
	}
}

// reference is what patronictl takes, by command: its options.
func reference() map[string]string {
	return map[string]string{
		"list": "extended timestamp format watch2 watch group", "topology": "watch2 watch group", "history": "format group",
		"dsn": "role member group", "query": "command file role member username password dbname format delimiter watch2 watch group",
		"show-config": "group", "edit-config": "quiet set pg apply replace force group",
		"pause": "wait group", "resume": "wait group", "switchover": "leader primary candidate scheduled force group",
		"failover": "candidate force group", "restart": "role any scheduled pg-version pending timeout force group",
		"reload": "role force group", "reinit": "force from-leader wait group", "flush": "role force group",
		"remove": "format group", "version": "group", "all": "config-file dcs-url dcs insecure",
	}
}

// TestReferenceIsComplete: what scripts written for patronictl use is there.
func TestReferenceIsComplete(t *testing.T) {
	exist := commandTree(NewWith(Options{Version: "0", Patronictl: true}))
	for command, options := range reference() {
		for option := range strings.FieldsSeq(options) {
			if _, ok := exist[command+" --"+option]; !ok {
				t.Errorf("%s lacks --%s", command, option)
			}
		}
	}
}
