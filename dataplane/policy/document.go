package policy

// Document is one parsed policy. It keeps the order and the spelling of what
// was written, so that it can be printed, checked and explained; Compile makes
// the form that decides.
type Document struct {
	src        *source
	version    *entry // nil: absent, which means 2008-10-17
	id         *entry
	statements []statement
	single     bool // Statement was an object, not a list
}

// entry is one string of a document with the place where it stands.
type entry struct {
	text   string
	offset int
}

// entries is the content of an element that takes one string or a list.
type entries []entry

type statement struct {
	offset     int
	path       string // Statement, or Statement[i]
	sid        *entry
	deny       bool
	principal  *principals // nil: absent
	action     *element
	resource   *element
	conditions []block
	// hasCondition tells an empty Condition, which is kept, from an absent one.
	hasCondition bool
}

// principals is a Principal or NotPrincipal element.
type principals struct {
	name     string // Principal or NotPrincipal
	negated  bool
	offset   int
	anyone   bool // the bare string "*"
	byType   []principalType
	compiled principalSet // filled by Parse, which must understand each of them anyway
}

type principalType struct {
	name   string // AWS, Federated, Service
	values entries
}

// element is an Action, NotAction, Resource or NotResource.
type element struct {
	name    string
	negated bool
	offset  int
	values  entries
}

// block is one operator of a Condition with its keys.
type block struct {
	name   string // as written
	op     operator
	offset int
	keys   []keyValues
}

type keyValues struct {
	name   string // as written
	offset int
	values entries
}

const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// variables says whether ${...} is a policy variable in this document.
func (d *Document) variables() bool {
	return d.version != nil && d.version.text == version2012
}

// Statements is the number of statements.
func (d *Document) Statements() int { return len(d.statements) }

// Sid is the identifier of statement i, empty if it has none.
func (d *Document) Sid(i int) string {
	if s := d.statements[i].sid; s != nil {
		return s.text
	}
	return ""
}
