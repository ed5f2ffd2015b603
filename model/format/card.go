package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/model/infer"
)

// Limits of descriptions.
const (
	cardBytesMax   = 4 << 20
	frontBytesMax  = 64 << 10
	configBytesMax = 16 << 20
	indexBytesMax  = 64 << 20
	tagsMax        = 64
	tagBytesMax    = 128
)

// Card is what the front matter of a model card says.
type Card struct {
	// Licence as an SPDX expression; may be empty.
	Licence string
	// Tags, with the task, the library and the languages.
	Tags []string
}

// ParseCard reads the front matter of a README.md: YAML between two lines of "---".
// A text without one says nothing.
func ParseCard(text []byte) (Card, error) {
	front, ok := frontMatter(text)
	if !ok {
		return Card{}, nil
	}
	if len(front) > frontBytesMax {
		return Card{}, fmt.Errorf("its front matter has %d bytes, at most %d are read", len(front), frontBytesMax)
	}
	var in struct {
		License     any    `json:"license"`
		LicenseName string `json:"license_name"`
		Tags        any    `json:"tags"`
		Language    any    `json:"language"`
		Task        string `json:"pipeline_tag"`
		Library     string `json:"library_name"`
	}
	if err := yaml.Unmarshal(front, &in); err != nil {
		return Card{}, fmt.Errorf("its front matter is no YAML of a model card: %s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	var c Card
	var all []string
	for _, l := range texts(in.License) {
		all = append(all, spdx(l, in.LicenseName))
	}
	c.Licence = strings.Join(all, " AND ") // of several each holds for some part
	for _, t := range slices.Concat([]string{in.Task, in.Library}, texts(in.Tags), texts(in.Language)) {
		if t != "" && len(t) <= tagBytesMax && !slices.Contains(c.Tags, t) && len(c.Tags) < tagsMax {
			c.Tags = append(c.Tags, t)
		}
	}
	return c, nil
}

// frontMatter is what stands between the first line and the next of "---".
func frontMatter(text []byte) ([]byte, bool) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	first, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok || string(bytes.TrimRight(first, " \r")) != "---" {
		return nil, false
	}
	for at := 0; at < len(rest); {
		line := rest[at:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
		}
		if string(bytes.TrimRight(line, " \r")) == "---" {
			return rest[:at], true
		}
		at += len(line) + 1
	}
	return nil, false
}

// texts are the strings of a value that is one or a list of them.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, x := range v {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// licences are SPDX's names of those that model cards name in lower case.
var licences = []string{
	"AFL-3.0", "AGPL-3.0-only", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0", "CC-BY-2.0", "CC-BY-3.0",
	"CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
	"CC0-1.0", "CDLA-Permissive-2.0", "ECL-2.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "GPL-2.0-only", "GPL-3.0-only", "ISC", "LGPL-2.1-only",
	"LGPL-3.0-only", "MIT", "MPL-2.0", "MS-PL", "NCSA", "ODbL-1.0", "OFL-1.1", "OSL-3.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
}

// notIDs are characters that no SPDX identifier has.
var notIDs = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// spdx is the SPDX name of a licence of a model card. One that SPDX does not list becomes
// a LicenseRef, so that nobody takes it for another.
func spdx(id, name string) string {
	id = strings.TrimSpace(id)
	for _, l := range licences {
		if strings.EqualFold(l, id) || strings.EqualFold(l, id+"-only") {
			return l
		}
	}
	if strings.EqualFold(id, "other") && name != "" {
		id = name
	}
	if id = strings.Trim(notIDs.ReplaceAllString(id, "-"), "-"); id == "" {
		id = "unknown"
	}
	return "LicenseRef-" + id[:min(len(id), 64)]
}

// describe reads what stands beside the weights.
func (s *Summary) describe() error {
	if f := s.file("README.md"); f != nil {
		text, err := small(*f, cardBytesMax)
		if err != nil {
			return err
		}
		c, err := ParseCard(text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		s.Licence, s.Tags = c.Licence, c.Tags
	}
	if f := s.file(infer.DescriptionFile); f != nil {
		text, err := small(*f, infer.DescriptionBytesMax)
		if err != nil {
			return err
		}
		if _, err := infer.ParseServing(text); err != nil {
			return err
		}
	}
	for _, f := range s.Files {
		if strings.HasSuffix(f.Path, ".safetensors.index.json") {
			if err := s.shards(f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
		}
	}
	return s.config()
}

// config reads config.json, which models of Hugging Face's libraries have.
func (s *Summary) config() error {
	f := s.file("config.json")
	if f == nil {
		return nil
	}
	text, err := small(*f, configBytesMax)
	if err != nil {
		return err
	}
	if !json.Valid(text) {
		return fmt.Errorf("%s is no JSON", f.Path)
	}
	var in struct {
		ModelType     string   `json:"model_type"`
		Architectures []string `json:"architectures"`
		Version       string   `json:"transformers_version"`
	}
	if json.Unmarshal(text, &in) != nil || in.ModelType == "" && len(in.Architectures) == 0 {
		return nil // somebody else's config.json
	}
	s.Architecture = clip(in.ModelType, tagBytesMax)
	if len(in.Architectures) > 0 {
		s.Architecture = clip(in.Architectures[0], tagBytesMax)
	}
	if s.Kind != KindONNX {
		s.Kind, s.Framework = KindHuggingFace, strings.TrimSpace("transformers "+clip(in.Version, 32))
	}
	return nil
}

func clip(s string, bytesMax int) string { return strings.ToValidUTF8(s[:min(len(s), bytesMax)], "") }

// shards checks that the files which an index of safetensors names have what it says.
func (s *Summary) shards(index File) error {
	text, err := small(index, indexBytesMax)
	if err != nil {
		return err
	}
	var in struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &in); err != nil || len(in.Weights) == 0 {
		return errors.New("it has no weight_map of tensors and files")
	}
	has := map[string]map[string]bool{}
	for tensor, name := range in.Weights {
		at := path.Join(path.Dir(index.Path), name)
		if has[at] == nil {
			if has[at], err = s.tensors(at); err != nil {
				return err
			}
		}
		if !has[at][tensor] {
			return fmt.Errorf("tensor %.100q is to be in %s, and is not", tensor, at)
		}
	}
	return nil
}

// tensors are the names in one safetensors file.
func (s *Summary) tensors(name string) (map[string]bool, error) {
	f := s.file(name)
	if f == nil || !strings.HasSuffix(name, ".safetensors") {
		return nil, fmt.Errorf("the file %.200q, which it names, is not there", name)
	}
	r, err := os.Open(f.Source)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t, err := ReadSafetensors(r, f.SizeBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := make(map[string]bool, len(t.Tensors))
	for _, x := range t.Tensors {
		out[x.Name] = true
	}
	return out, nil
}
