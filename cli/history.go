package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/matriarch-ha/matriarch/api"
	"github.com/matriarch-ha/matriarch/internal/pyjson"
)

func (a *app) historyCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "history [CLUSTER]",
		Short:   "Show the timelines of a cluster: when who took over, and where",
		Long:    "Shows each change of timeline: where the old one was left, why, when, and who led afterwards.",
		Example: a.examples("{} history", "{} history -f json"),
		Args:    args(cobra.MaximumNArgs(1)),
		RunE:    func(c *cobra.Command, names []string) error { return a.history(c, clusterArg(names), format) },
	}
	formatFlag(c, &format, "f", formatPretty)
	groupFlag(c)
	c.ValidArgsFunction = a.completeCluster
	return c
}

func (a *app) history(c *cobra.Command, name, format string) error {
	x, s, err := a.look(c, name)
	if err != nil {
		return err
	}
	defer x.close()
	lines, err := x.history(c.Context(), s)
	if err != nil {
		return err
	}
	titles := []string{"TL", "LSN", "Reason", "Timestamp", "New Leader"}
	var objs []pyjson.Object
	var cells [][]string
	for _, l := range lines {
		var o pyjson.Object
		var row []string
		for i, t := range titles {
			var v any = ""
			if i < len(l) {
				v = l[i]
			}
			o = append(o, pyjson.Field{Key: t, Value: v})
			row = append(row, fmt.Sprint(v))
		}
		objs, cells = append(objs, o), append(cells, row)
	}
	var columns []column
	for i, t := range titles {
		columns = append(columns, column{title: t, right: i < 2})
	}
	var out string
	switch format {
	case formatPretty:
		out = table("", columns, cells, false)
	case formatTSV:
		out = tsv(columns, cells)
	default:
		if out, err = objects(objs, format); err != nil {
			return err
		}
	}
	fmt.Fprint(c.OutOrStdout(), out)
	return nil
}

// history asks the members; from the store it is in the view already.
func (x *access) history(ctx context.Context, s state) ([]api.HistoryLine, error) {
	if s.asked == "" {
		return api.History(s.view.History), nil
	}
	lines, _, ok, errs := first(ctx, x.bases, x.rest.History)
	if !ok {
		return nil, errors.Join(errs...)
	}
	return lines, nil
}
