package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"polder.dev/polder/api/v1alpha1"
	"polder.dev/polder/internal/kube"
	"polder.dev/polder/internal/term"
	"polder.dev/polder/internal/usage"
	"polder.dev/polder/internal/version"
	"polder.dev/polder/model/image"
	"polder.dev/polder/model/pack"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/runtimes/recipe"
	"polder.dev/polder/system/layout"
)

// sbomType is the artifact type of a bill of materials: CycloneDX's media type.
const sbomType = "application/vnd.cyclonedx+json"

func (o *options) runtime() *cobra.Command {
	cmd := &cobra.Command{Use: "runtime", Short: "List and build what training jobs run in"}
	cmd.AddCommand(o.runtimeList(), o.runtimeBuild())
	return cmd
}

func (o *options) runtimeList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List runtimes, and the recipes that make more", Args: cobra.NoArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		var list v1alpha1.RuntimeList
		if err := c.List(cmd.Context(), &list); err != nil {
			return fmt.Errorf("listing runtimes: %w", err)
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), list.Items)
		}
		rows := [][]string{{"NAME", "FRAMEWORK", "VERSION", "SOFTWARE", "READY", "AGE"}}
		have := map[string]bool{}
		for _, r := range list.Items {
			have[r.Name] = true
			var software []string
			for _, v := range r.Spec.Variants {
				software = append(software, v.Software)
			}
			ready := "no"
			if apimeta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady) {
				ready = "yes"
			}
			rows = append(rows, []string{r.Name, r.Spec.Framework, r.Spec.Version, strings.Join(software, ","), ready, term.Age(r.CreationTimestamp.Time, time.Now())})
		}
		for _, n := range recipe.Names() {
			if !have[n] {
				rows = append(rows, []string{n, "-", "-", "-", "no: `polder runtime build " + n + "`", "-"})
			}
		}
		return term.Table(cmd.OutOrStdout(), rows)
	}
	return o.flags(cmd, "json")
}

func (o *options) runtimeBuild() *cobra.Command {
	var mirrors []string
	var force bool
	var lock string
	cmd := &cobra.Command{
		Use:   "build NAME",
		Short: "Build a runtime's image on this machine and push it to the cloud's registry",
		Long: `Build a runtime's image from Debian's packages, in the versions that the recipe's
lock names, push it to the cloud's registry with its bill of materials, and write
the Runtime. One that was built from this recipe before is left as it is.`,
		Args:              exactly("NAME"),
		ValidArgsFunction: cobra.FixedCompletions(recipe.Names(), cobra.ShellCompDirectiveNoFileComp),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := recipe.Open(args[0])
		if err != nil {
			return usage.Error(err)
		}
		programs, err := bring(r)
		if err != nil {
			return err
		}
		c, err := o.open(cmd)
		if err != nil {
			return err
		}
		b := &builder{c: c, recipe: r, programs: programs, mirrors: mirrors, lock: lock, err: cmd.ErrOrStderr(), began: time.Now()}
		rt, built, err := b.build(cmd.Context(), force)
		if err != nil {
			return err
		}
		if o.json() {
			return printJSON(cmd.OutOrStdout(), rt)
		}
		word := "is there already"
		if built {
			word = fmt.Sprintf("is built, in %s", time.Since(b.began).Round(time.Second))
		}
		v := rt.Spec.Variants[b.variant(rt)]
		fmt.Fprintf(cmd.OutOrStdout(), "Runtime %s (%s %s) %s: %s@%s\n", rt.Name, rt.Spec.Framework, rt.Spec.Version, word, v.Image, v.Digest)
		return nil
	}
	cmd.Flags().StringArrayVar(&mirrors, "mirror", nil, "where packages come from: a URL or a file of apt's sources; may be repeated (default: the machine's own, else Debian's)")
	cmd.Flags().BoolVar(&force, "force", false, "build it even if it is there")
	cmd.Flags().StringVar(&lock, "write-lock", "", "write the versions that came in to this file")
	return o.flags(cmd, "json")
}

// bring finds the helper binaries that become a part of the image.
func bring(r *recipe.Recipe) ([]recipe.Program, error) {
	if len(r.Programs) == 0 {
		return nil, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	dir, err := layout.Libexec(program)
	if err != nil {
		return nil, err
	}
	return r.Bring(dir)
}

// builder builds one runtime.
type builder struct {
	c        *kube.Client
	recipe   *recipe.Recipe
	programs []recipe.Program
	mirrors  []string
	lock     string
	err      io.Writer
	began    time.Time
}

func (b *builder) say(format string, args ...any) {
	fmt.Fprintf(b.err, "%4ds  %s\n", int(time.Since(b.began).Seconds()), fmt.Sprintf(format, args...))
}

// build returns the Runtime, and whether it had to be built.
func (b *builder) build(ctx context.Context, force bool) (*v1alpha1.Runtime, bool, error) {
	images, err := store(ctx, b.c)
	if err != nil {
		return nil, false, err
	}
	repository := "runtimes/" + b.recipe.Name
	var have v1alpha1.Runtime
	err = b.c.Get(ctx, kube.Key("", b.recipe.Name), &have)
	if err == nil && !force && b.built(ctx, images, repository, &have) {
		return &have, false, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, false, fmt.Errorf("reading runtime %s: %w", b.recipe.Name, err)
	}
	dir, err := os.MkdirTemp("", "polder-runtime-*")
	if err != nil {
		return nil, false, fmt.Errorf("making a directory to build in: %w", err)
	}
	defer os.RemoveAll(dir)
	root, err := b.recipe.Build(ctx, dir, recipe.Options{Mirrors: b.mirrors, Progress: func(s string) { b.say("%s", s) }})
	if err != nil {
		return nil, false, fmt.Errorf("building %s: %w", b.recipe.Name, err)
	}
	if b.lock != "" {
		if err := os.WriteFile(b.lock, recipe.FormatLock(root.Packages), 0o644); err != nil {
			return nil, false, fmt.Errorf("writing lock: %w", err)
		}
	}
	if drift := b.recipe.Drift(root.Packages); len(drift) > 0 {
		b.say("warning: %d packages are not in the version of the lock, so this image is not the one that was tested: %s", len(drift), strings.Join(drift, ", "))
	}
	b.say("packing %d packages", len(root.Packages))
	img, err := b.image(root, dir)
	if err != nil {
		return nil, false, err
	}
	b.say("pushing")
	digest, err := images.Push(ctx, repository+":latest", img, nil)
	if err != nil {
		return nil, false, err
	}
	if err := b.attach(ctx, repository, img, root.Packages); err != nil {
		return nil, false, err
	}
	rt, err := b.write(ctx, repository, digest, root.Packages)
	return rt, true, err
}

// recipeAnnotation is, on a Runtime, the digest of the recipe and lock it was built
// from.
const recipeAnnotation = v1alpha1.Group + "/recipe"

// built reports whether rt is what this recipe makes, and its image is there.
func (b *builder) built(ctx context.Context, images *registry.Client, repository string, rt *v1alpha1.Runtime) bool {
	i := b.variant(rt)
	if i < 0 || rt.Annotations[recipeAnnotation] != b.recipe.Digest() {
		return false
	}
	want := rt.Spec.Variants[i].Digest
	have, err := images.Digest(ctx, repository+"@"+want)
	return err == nil && have.String() == want
}

// variant is the index of the recipe's variant in rt, or -1.
func (b *builder) variant(rt *v1alpha1.Runtime) int {
	return slices.IndexFunc(rt.Spec.Variants, func(v v1alpha1.RuntimeVariant) bool { return v.Software == b.recipe.Software })
}

func (b *builder) image(root *recipe.Built, dir string) (v1.Image, error) {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, k := range slices.Sorted(maps.Keys(b.recipe.Env)) {
		env = append(env, k+"="+b.recipe.Env[k])
	}
	return image.OfTar(root.Tar, dir, v1.Config{Env: env, User: "65532:65532", Entrypoint: b.recipe.Entrypoint}, nil)
}

// attach pushes the bill of materials as what refers to the image.
func (b *builder) attach(ctx context.Context, repository string, img v1.Image, packages []recipe.Package) error {
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{Type: cyclonedx.ComponentTypeContainer, Name: b.recipe.Name, Version: b.recipe.Upstream(packages)}}
	var parts []cyclonedx.Component
	for _, p := range packages {
		parts = append(parts, cyclonedx.Component{
			Type: cyclonedx.ComponentTypeLibrary, Name: p.Name, Version: p.Version,
			PackageURL: fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=%s", url.QueryEscape(p.Name), url.QueryEscape(p.Version), p.Architecture, b.recipe.Suite),
		})
	}
	for _, p := range b.programs {
		parts = append(parts, cyclonedx.Component{
			Type: cyclonedx.ComponentTypeFile, Name: recipe.ProgramDir + "/" + p.Name, Version: version.String(),
			Hashes: &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: p.SHA256}},
		})
	}
	bom.Components = &parts
	var text bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&text, cyclonedx.BOMFileFormatJSON).Encode(bom); err != nil {
		return fmt.Errorf("writing bill of materials: %w", err)
	}
	images, err := store(ctx, b.c)
	if err != nil {
		return err
	}
	return pack.Attach(ctx, images, repository, img, sbomType, text.Bytes())
}

// write makes the Runtime, or changes its variant of this recipe and leaves others.
func (b *builder) write(ctx context.Context, repository string, digest v1.Hash, packages []recipe.Package) (*v1alpha1.Runtime, error) {
	rt := &v1alpha1.Runtime{ObjectMeta: metav1.ObjectMeta{Name: b.recipe.Name}}
	err := b.c.Get(ctx, kube.Key("", rt.Name), rt)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return nil, fmt.Errorf("reading runtime %s: %w", rt.Name, err)
	}
	old := rt.DeepCopy()
	if rt.Annotations == nil {
		rt.Annotations = map[string]string{}
	}
	rt.Annotations[recipeAnnotation] = b.recipe.Digest()
	rt.Spec.Framework, rt.Spec.Version = b.recipe.Framework, b.recipe.Upstream(packages)
	if i := b.variant(rt); i >= 0 {
		rt.Spec.Variants[i].Image, rt.Spec.Variants[i].Digest = repository, digest.String()
	} else {
		rt.Spec.Variants = append(rt.Spec.Variants, v1alpha1.RuntimeVariant{Software: b.recipe.Software, Image: repository, Digest: digest.String()})
	}
	if missing {
		err = b.c.Create(ctx, rt)
	} else {
		err = b.c.Patch(ctx, rt, kube.Changes(old))
	}
	if err != nil {
		return nil, fmt.Errorf("writing runtime %s: %w", rt.Name, err)
	}
	return rt, nil
}
