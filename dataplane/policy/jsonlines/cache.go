package jsonlines

import (
	"container/list"
	"sync"

	"github.com/posternhq/postern/dataplane/policy"
)

// Bounds of the cache. A program takes up to some thirty times its text.
const (
	maxCachedPolicies = 4096
	maxCachedText     = 8 << 20
)

// compiled is a policy's program, or what is wrong with it.
type compiled struct {
	text    string
	once    sync.Once
	program *policy.Program
	err     error
}

// get compiles the policy when it is first asked for.
func (c *compiled) get() (*policy.Program, error) {
	c.once.Do(func() {
		doc, err := policy.Parse([]byte(c.text))
		if err == nil {
			c.program, err = policy.Compile(doc)
		}
		c.err = err
	})
	return c.program, c.err
}

// cache keeps the policies that were used last, by their exact text.
type cache struct {
	mu     sync.Mutex
	byText map[string]*list.Element // of *compiled
	recent *list.List               // most recent first
	size   int                      // of all texts in bytes, <= maxCachedText
}

func newCache() *cache {
	return &cache{byText: make(map[string]*list.Element), recent: list.New()}
}

// find returns the policy with this text, which is compiled outside the lock.
func (c *cache) find(text []byte) *compiled {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byText[string(text)]; ok {
		c.recent.MoveToFront(e)
		return e.Value.(*compiled)
	}
	p := &compiled{text: string(text)}
	if len(text) > maxCachedText {
		return p
	}
	c.byText[p.text] = c.recent.PushFront(p)
	c.size += len(text)
	for c.size > maxCachedText || c.recent.Len() > maxCachedPolicies {
		oldest := c.recent.Remove(c.recent.Back()).(*compiled)
		delete(c.byText, oldest.text)
		c.size -= len(oldest.text)
	}
	return p
}
