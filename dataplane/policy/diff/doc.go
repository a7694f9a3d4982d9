// Package diff compares policies by what they mean.
package diff
