package polder_test

import (
	"fmt"
	"go/ast"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

const (
	configRoom = "system/layout"
	configPage = "docs/formats/config.md"
)

// checkConfig compares the fields of layout.Config with the rows of its page.
func checkConfig(t *tree) []string {
	structs := map[string]*ast.StructType{}
	if p := t.pkg(configRoom); p != nil {
		for _, f := range p.files {
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if ts, ok := n.(*ast.TypeSpec); ok {
					if st, ok := ts.Type.(*ast.StructType); ok {
						structs[ts.Name.Name] = st
					}
				}
				return true
			})
		}
	}
	if structs["Config"] == nil {
		return nil // no configuration, so nothing to describe
	}
	var out, rows []string
	for l := range strings.Lines(t.read(configPage)) {
		cells := strings.Split(l, "|")
		if m := span.FindStringSubmatch(l); m != nil && len(cells) == 6 && strings.TrimSpace(cells[1]) == m[0] {
			rows = append(rows, m[1])
		}
	}
	want := fields(structs, "Config", "")
	for _, f := range want {
		if !slices.Contains(rows, f) {
			out = append(out, fmt.Sprintf("%s has no row for the field `%s`", configPage, f))
		}
	}
	for _, r := range rows {
		if !slices.Contains(want, r) {
			out = append(out, fmt.Sprintf("%s has a row for `%s`, which is no field of %s.Config", configPage, r, configRoom))
		}
	}
	return out
}

// fields lists the leaves of a struct by the names they have in a file.
func fields(structs map[string]*ast.StructType, name, prefix string) []string {
	var out []string
	for _, f := range structs[name].Fields.List {
		if f.Tag == nil {
			continue
		}
		tag, _ := strconv.Unquote(f.Tag.Value)
		key, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		if key == "" || key == "-" {
			continue
		}
		if id, ok := f.Type.(*ast.Ident); ok && structs[id.Name] != nil {
			out = append(out, fields(structs, id.Name, prefix+key+".")...)
			continue
		}
		out = append(out, prefix+key)
	}
	return out
}
