package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	resourcev1 "k8s.io/api/resource/v1"

	"polder.dev/polder/device/conformance"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
)

func (o *options) conformance() *cobra.Command {
	var driver string
	cmd := &cobra.Command{
		Use:   "conformance",
		Short: "Hold what drivers publish against the accelerator profile",
		Long: `Hold what the DRA drivers of a cluster publish against the accelerator profile, rule
by rule. It fails if a driver breaks a rule that it must keep: --driver chooses one.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&driver, "driver", "", "look at this driver only")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var list resourcev1.ResourceSliceList
		if err := c.List(cmd.Context(), &list); err != nil {
			return fmt.Errorf("listing resource slices: %w", err)
		}
		reports := []conformance.Report{}
		for _, r := range conformance.Check(list.Items) {
			if driver == "" || r.Driver == driver {
				reports = append(reports, r)
			}
		}
		if len(reports) == 0 {
			return usage.Errorf("no driver publishes devices here%s", named(driver))
		}
		if o.json() {
			err = printJSON(cmd.OutOrStdout(), reports)
		} else {
			err = showReports(cmd, reports)
		}
		for _, r := range reports {
			if err == nil && !r.Conforms {
				err = errors.New("not all drivers conform to the accelerator profile")
			}
		}
		return err
	}
	return o.flags(cmd, "json")
}

func named(driver string) string {
	if driver == "" {
		return ""
	}
	return " under the name " + driver
}

func showReports(cmd *cobra.Command, reports []conformance.Report) error {
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		word := "conforms to"
		if !r.Conforms {
			word = "does not conform to"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s, %d devices, %s the accelerator profile %s\n", r.Driver, r.Devices, word, r.Profile)
		rows := [][]string{}
		for _, res := range r.Results {
			state := "ok"
			if !res.OK {
				state = fmt.Sprintf("%d broken", res.Count)
			}
			rows = append(rows, []string{res.Rule, res.Level, state, res.Title})
			for _, f := range res.Failures {
				rows = append(rows, []string{"", "", "", "- " + f})
			}
		}
		if err := term.Table(cmd.OutOrStdout(), rows); err != nil {
			return err
		}
	}
	return nil
}
