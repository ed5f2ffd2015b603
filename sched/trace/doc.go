// Package trace reads what was recorded of clusters: a table of nodes and a table of
// pods, as comma-separated values with the column names of the openb traces in the
// first line. Everybody may import it.
//
// Columns are found by name, in any order, and others are left alone. A column that is
// missing, a field that is no number, a name that is there twice and a table without
// end are errors that name the file, the line and the column; nothing is guessed.
package trace
