package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// shown is what an Engine was asked to show.
type shown struct {
	component string
	follow    bool
	tail      int
}

// program runs the command line, far from any cloud.
func program(t *testing.T, args ...string) (code int, out, errs string, asked []shown) {
	t.Helper()
	cmd := root(func(*string) Engine {
		return Engine{
			LogNames: func() []string { return []string{"etcd", "kubelet"} },
			ShowLog: func(_ context.Context, component string, follow bool, tail int, w io.Writer) error {
				asked = append(asked, shown{component, follow, tail})
				_, err := io.WriteString(w, "a line\n")
				return err
			},
		}
	})
	var o, e bytes.Buffer
	cmd.SetArgs(args)
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	return run(t.Context(), cmd), o.String(), e.String(), asked
}

// away has no cloud in any place where one is looked for.
func away(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("POLDER_DATA_DIR", dir)
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", dir)
	return dir
}

func TestMisuseIsExitCode2(t *testing.T) {
	away(t)
	for _, tc := range []struct {
		args string
		want string
	}{
		{"nonsense", `no verb "nonsense"`},
		{"--nonsense", "--nonsense"},
		{"train", "FILE or DIR"},
		{"train a b", "FILE or DIR"},
		{"train x --param novalue", "novalue"},
		{"cancel", "JOB"},
		{"jobs extra", "extra"},
		{"jobs -o yaml", "yaml"},
		{"logs", "--component"},
		{"logs job --component etcd", "--component"},
		{"logs a b", "--component"},
		{"logs a --tail many", "many"},
		{"model nonsense", "nonsense"},
		{"model pull a", "NAME[@ALIAS|@DIGEST] and DIR"},
		{"model show", "NAME"},
		{"model push .", "PATH and NAME"},
		{"model push . NAME@x", "names no model"},
		{"model push /nowhere x", "/nowhere"},
		{"model push . x", "no weights"},
		{"model gate a b", "--evaluation"},
		{"model gate a b --against", "--evaluation"},
		{"model gate a b --off --evaluation", "evaluation"},
		{"model promote a", "ALIAS"},
		{"model rm a b", "NAME"},
		{"image ls a b", "PREFIX"},
		{"image push a", "REPOSITORY"},
		{"image push /nowhere x", "/nowhere: no such file"},
		{"image push /nowhere Bad!", "Bad!"},
		{"image push /nowhere docker.io/x/y", "another registry"},
		{"why", "JOB"},
		{"queue nonsense", "nonsense"},
		{"queue show", "QUEUE"},
		{"queue ls -o yaml", "yaml"},
		{"defrag", "--plan to see"},
		{"defrag --plan --apply", "plan"},
		{"defrag --plan extra", "extra"},
		{"defrag --plan -o wide", "json or yaml"},
		{"defrag --plan --moves-max 0", "--moves-max is 0"},
		{"defrag --plan --moves-max many", "many"},
		{"defrag --apply --gain-min -1", "--gain-min is -1"},
		{"defrag --apply --gain-min NaN", "--gain-min is NaN"},
		{"defrag --plan --for -2", "--for is -2"},
		{"defrag --apply --timeout 0s", "--timeout is 0s"},
		{"defrag --apply --checkpoint-wait 48h", "--checkpoint-wait is 48h"},
		{"defrag --apply --restart -1s", "--restart is -1s"},
		{"image rm ''", "reference"},
		{"runtime build", "NAME"},
		{"runtime build nonsense", "pytorch-cpu"},
		{"completion nonsense", "nonsense"},
		{"cp a", "SOURCE and DESTINATION"},
		{"cp a b", "neither a nor b is in the store"},
		{"cp -r - s3://b", "- is none"},
		{"sync - s3://b", "- is none"},
		{"sync a s3:b", "s3://BUCKET/KEY"},
		{"ls a", "not in the store"},
		{"ls a b", "at most one"},
		{"rm a", "not in the store"},
		{"cat", "s3://BUCKET/KEY"},
		{"cat s3://b", "is no object"},
		{"ls s3://b -o yaml", "yaml"},
		{"cp a s3://b --part-size x", "--part-size x is no size"},
		{"cp a s3://b --parallel many", "many"},
		{"bucket nonsense", "nonsense"},
		{"bucket create b --durability never", "synced or written"},
		{"bucket create b --copies 0", "at least 1"},
		{"bucket versioning b maybe", "on or off"},
		{"bucket policy set b", "NAME and FILE"},
		{"evaluate x --data d --deadline soon", `--deadline "soon" is no duration, such as 90s`},
		{"advise --data a --rows 5", "--data and --rows exclude each other"},
		{"advise --rows 1.5", `--rows "1.5" is no whole number`},
		{"advise --per-day many", `--per-day "many" is no number`},
		{"advise --rows", "flag needs an argument: --rows"},
		{"route create a --specialist b", "--specialist and --general belong together: give --general, too"},
		{"evaluate m", "polder evaluate needs --data (rows to judge on"},
		{"sim --pods x", "polder sim needs --nodes (file of nodes: sn,"},
		{"sim", ") and --pods (file of pods: "},
		{"node add", "polder node add needs --emulate (directory or file to read devices from); `polder node add --help` tells more"},
		{"devices explain", "needs --file (file of the requirement"},
	} {
		code, out, errs, _ := program(t, strings.Fields(strings.ReplaceAll(tc.args, "''", "!"))...)
		if code != 2 || !strings.Contains(errs, tc.want) || !strings.HasPrefix(errs, "polder: ") || strings.Count(errs, "\n") != 1 {
			t.Errorf("polder %s: exit code %d, %q; want 2 and one line that says %s", tc.args, code, errs, tc.want)
		}
		if out != "" {
			t.Errorf("polder %s: says %q", tc.args, out)
		}
	}
}

func TestOtherFailuresAreExitCode1(t *testing.T) {
	dir := away(t)
	for _, args := range [][]string{{"jobs"}, {"defrag", "--plan"}, {"model", "ls"}, {"runtime", "ls"}, {"image", "ls"}, {"cancel", "x"}, {"jobs", "--kubeconfig", filepath.Join(dir, "none")}} {
		if code, _, errs, _ := program(t, args...); code != 1 || !strings.Contains(errs, "kubeconfig") {
			t.Errorf("polder %v: exit code %d, %q; want 1 and the kubeconfig that is missing", args, code, errs)
		}
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	away(t)
	for _, args := range [][]string{nil, {"--help"}, {"model"}, {"train", "--help"}, {"--version"}} {
		if code, out, errs, _ := program(t, args...); code != 0 || out == "" || errs != "" {
			t.Errorf("polder %v: exit code %d, %q, %q", args, code, out, errs)
		}
	}
}

func TestLogsOfAComponentAskTheEngine(t *testing.T) {
	away(t)
	code, out, errs, asked := program(t, "logs", "--component", "etcd", "-f", "--tail", "5")
	if code != 0 || out != "a line\n" || errs != "" || !cmp.Equal(asked, []shown{{"etcd", true, 5}}, cmp.AllowUnexported(shown{})) {
		t.Errorf("%d, %q, %q, %+v", code, out, errs, asked)
	}
}

func TestCompletion(t *testing.T) {
	away(t)
	for args, want := range map[string][]string{
		"logs --component ": {"etcd", "kubelet"},
		"runtime build ":    {"pytorch-cpu"},
		"distil recipes ":   {"logits", "teacher"},
		"jobs -o ":          {"json"},
		"defrag -o ":        {"json", "yaml"},
		"model ":            {"ls", "pull", "rm", "show"},
	} {
		_, out, _, _ := program(t, append([]string{"__completeNoDesc"}, strings.Split(args, " ")...)...)
		got := strings.Split(strings.TrimSpace(out), "\n")
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, ":") || s == "help" })
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("polder %s is completed by %q; want %s among them", args, got, w)
			}
		}
	}
	// Without a cloud there is nothing to complete, and no noise.
	if _, out, _, _ := program(t, "__completeNoDesc", "cancel", ""); !strings.HasPrefix(out, ":1") {
		t.Errorf("without a cloud jobs are completed by %q", out)
	}
}

func TestFindKubeconfig(t *testing.T) {
	with, without := t.TempDir(), t.TempDir()
	local := filepath.Join(with, "admin.kubeconfig")
	if err := os.WriteFile(local, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		flag, dataDir, env, polder string
		said                       bool // --data-dir on the command line
		want                       string
	}{
		"--kubeconfig wins":                        {flag: "/x", dataDir: with, env: "/y", said: true, want: "/x"},
		"--data-dir wins over KUBECONFIG":          {dataDir: with, env: "/y", said: true, want: local},
		"POLDER_DATA_DIR wins over KUBECONFIG":     {dataDir: with, env: "/y", polder: with, want: local},
		"KUBECONFIG wins over what is found":       {dataDir: with, env: "/y", want: ""},
		"a cloud that is found":                    {dataDir: with, want: local},
		"no cloud: what Kubernetes' tools take":    {dataDir: without, want: ""},
		"a --data-dir without a cloud is an error": {dataDir: without, said: true, want: filepath.Join(without, "admin.kubeconfig")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", tc.env)
			t.Setenv("POLDER_DATA_DIR", tc.polder)
			dir := ""
			cmd := &cobra.Command{}
			cmd.Flags().StringVar(&dir, "data-dir", tc.dataDir, "")
			if tc.said {
				if err := cmd.Flags().Set("data-dir", tc.dataDir); err != nil {
					t.Fatal(err)
				}
			}
			o := &options{dataDir: &dir, kubeconfig: tc.flag}
			if got := o.findKubeconfig(cmd); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
