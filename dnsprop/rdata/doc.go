// Package rdata reads the values of records in the form in which Route 53
// takes them, and names as users spell them.
//
// What it accepts can be sent: names within their limits, sets that fit a
// message. It is pure; the zones, and who may write them, are others' concern.
package rdata
