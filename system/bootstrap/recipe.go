package bootstrap

import (
	"context"
	"fmt"
	"io/fs"

	ggcr "github.com/google/go-containerregistry/pkg/v1"

	"polder.dev/polder/model/image"
	"polder.dev/polder/model/registry"
	"polder.dev/polder/recipes"
)

// recipesRepository holds the recipes by which models learn.
const recipesRepository = "system/recipes"

// RecipesImage is the image of the recipes, by digest: jobs mount it as their code.
func RecipesImage() (string, error) {
	img, err := recipesImage()
	if err != nil {
		return "", err
	}
	d, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("hashing the recipes: %w", err)
	}
	return recipesRepository + "@" + d.String(), nil
}

func recipesImage() (ggcr.Image, error) {
	names, err := fs.Glob(recipes.Files, "*.py")
	if err != nil {
		return nil, err
	}
	var files []image.File
	for _, n := range names {
		b, err := fs.ReadFile(recipes.Files, n)
		if err != nil {
			return nil, err
		}
		files = append(files, image.File{Name: n, Mode: 0o644, Data: b})
	}
	return image.OfFiles(files, ggcr.Config{})
}

// pushRecipes pushes the recipes, tagged with what they are, so that those of an earlier
// program stay.
func pushRecipes(ctx context.Context, client *registry.Client) error {
	img, err := recipesImage()
	if err != nil {
		return err
	}
	d, err := img.Digest()
	if err != nil {
		return fmt.Errorf("hashing the recipes: %w", err)
	}
	reference := recipesRepository + ":" + d.Hex[:16]
	if have, err := client.Digest(ctx, reference); err == nil && have == d {
		return nil
	}
	_, err = client.Push(ctx, reference, img, nil)
	return err
}
