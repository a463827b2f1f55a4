package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// The compiler may fuse x*y + z into one operation with one rounding, and does on arm64 but not on amd64. The Go
// specification (Floating-point operators) lets it do so also across statements, when the product was stored first; only
// an explicit conversion, float32(x*y), prevents it.
//
// The rule checked here: a float product that is not converted explicitly must not be
//   - an operand of + or -, or the right side of += or -=,
//   - stored in a variable, field or element that is an operand of + or - elsewhere in the same function.
//
// Inlining can carry a product further, through arguments and results; what the compiler made of that is read from its
// listing (see TestNoFusedInstructions).
//
// Functions of package math whose results differ between machines are forbidden as well. A comment //fma:ok with a reason,
// on the line or the one above, lifts the rule for a line.

const escape = "//fma:ok"

// unportable are functions of package math with an assembly version on some machine or an unspecified error, and FMA,
// which is to be asked for by name.
var unportable = strings.Fields(`Acos Acosh Asin Asinh Atan Atan2 Atanh Cbrt Cos Cosh Erf Erfc Erfcinv Erfinv Exp Exp2 Expm1 FMA
	Gamma Hypot J0 J1 Jn Lgamma Log Log10 Log1p Log2 Pow Pow10 Sin Sincos Sinh Tan Tanh Y0 Y1 Yn`)

// finding is one broken rule.
type finding struct {
	pos token.Position
	msg string
}

func (f finding) String() string { return fmt.Sprintf("%s: %s", f.pos, f.msg) }

// lintFloats checks the type-checked files of a package.
func lintFloats(fset *token.FileSet, files []*ast.File, info *types.Info) []finding {
	var out []finding
	for _, file := range files {
		l := &linter{fset: fset, info: info, excused: map[int]bool{}}
		l.file(file)
		out = append(out, l.findings...)
	}
	return out
}

type linter struct {
	fset     *token.FileSet
	info     *types.Info
	excused  map[int]bool // lines under an escape, true once one was needed
	findings []finding

	stored map[string]token.Pos // by place: where a product was stored
	summed map[string]bool      // by place: is an operand of a sum
}

func (l *linter) file(file *ast.File) {
	for _, group := range file.Comments {
		for _, c := range group.List {
			reason, ok := strings.CutPrefix(c.Text, escape)
			if !ok {
				continue
			}
			if strings.TrimSpace(reason) == "" {
				l.report(c.Pos(), escape+" needs a reason")
				continue
			}
			l.excused[l.fset.Position(c.Pos()).Line] = false
		}
	}
	for _, decl := range file.Decls {
		l.stored, l.summed = map[string]token.Pos{}, map[string]bool{}
		ast.Inspect(decl, l.node)
		for place, pos := range l.stored {
			if l.summed[place] {
				l.report(pos, "product stored in "+l.name(place)+" is summed later and may be fused: convert it explicitly")
			}
		}
	}
	for line, needed := range l.excused {
		if !needed {
			name := l.fset.Position(file.Pos())
			l.findings = append(l.findings, finding{token.Position{Filename: name.Filename, Line: line}, escape + " excuses nothing"})
		}
	}
	slices.SortFunc(l.findings, func(a, b finding) int { return a.pos.Line - b.pos.Line })
}

func (l *linter) report(pos token.Pos, msg string) {
	p := l.fset.Position(pos)
	for _, line := range []int{p.Line, p.Line - 1} {
		if _, ok := l.excused[line]; ok {
			l.excused[line] = true
			return
		}
	}
	l.findings = append(l.findings, finding{p, msg})
}

func (l *linter) node(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		if (n.Op == token.ADD || n.Op == token.SUB) && l.isFloat(n) {
			l.operand(n.X)
			l.operand(n.Y)
		}
	case *ast.IncDecStmt:
		if l.isFloat(n.X) {
			l.operand(n.X)
		}
	case *ast.AssignStmt:
		l.assign(n)
	case *ast.ValueSpec:
		for i, value := range n.Values {
			if len(n.Names) == len(n.Values) && l.product(value) {
				l.store(n.Names[i], value.Pos())
			}
		}
	case *ast.SelectorExpr:
		if f, ok := l.info.Uses[n.Sel].(*types.Func); ok && f.Pkg() != nil && f.Pkg().Path() == "math" && slices.Contains(unportable, f.Name()) {
			l.report(n.Pos(), "math."+f.Name()+" does not give the same bits everywhere: use package fp")
		}
	}
	return true
}

func (l *linter) assign(n *ast.AssignStmt) {
	switch n.Tok {
	case token.ADD_ASSIGN, token.SUB_ASSIGN:
		if l.isFloat(n.Lhs[0]) {
			l.operand(n.Lhs[0])
			l.operand(n.Rhs[0])
		}
	case token.MUL_ASSIGN:
		if l.isFloat(n.Lhs[0]) {
			l.store(n.Lhs[0], n.Pos())
		}
	case token.ASSIGN, token.DEFINE:
		for i, value := range n.Rhs {
			if len(n.Lhs) == len(n.Rhs) && l.product(value) {
				l.store(n.Lhs[i], value.Pos())
			}
		}
	}
}

// operand looks at an operand of a sum.
func (l *linter) operand(e ast.Expr) {
	if l.product(e) {
		l.report(e.Pos(), "product may be fused with this sum: convert it explicitly")
		return
	}
	if place := l.place(unsigned(e)); place != "" {
		l.summed[place] = true
	}
}

func (l *linter) store(to ast.Expr, pos token.Pos) {
	if place := l.place(ast.Unparen(to)); place != "" {
		l.stored[place] = pos
	}
}

// place identifies what an expression denotes, as far as its text tells: a variable, or a field or element.
func (l *linter) place(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		obj := l.info.ObjectOf(e)
		if obj == nil || e.Name == "_" {
			return ""
		}
		return fmt.Sprintf("%s at %d", e.Name, obj.Pos())
	case *ast.IndexExpr, *ast.SelectorExpr, *ast.StarExpr:
		return types.ExprString(e)
	}
	return ""
}

func (l *linter) name(place string) string {
	name, _, _ := strings.Cut(place, " at ")
	return name
}

// product tells whether e is a float multiplication, not converted and not known at compile time.
func (l *linter) product(e ast.Expr) bool {
	b, ok := unsigned(e).(*ast.BinaryExpr)
	return ok && b.Op == token.MUL && l.isFloat(b) && l.info.Types[b].Value == nil
}

// unsigned strips parentheses and signs.
func unsigned(e ast.Expr) ast.Expr {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.UnaryExpr:
			if x.Op != token.SUB && x.Op != token.ADD {
				return e
			}
			e = x.X
		default:
			return e
		}
	}
}

// isFloat tells whether e has a floating-point type, or a type parameter that may stand for one.
func (l *linter) isFloat(e ast.Expr) bool {
	t := l.info.TypeOf(e)
	if t == nil {
		return false
	}
	if p, ok := types.Unalias(t).(*types.TypeParam); ok {
		found := false
		constraint := p.Constraint().Underlying().(*types.Interface)
		for i := range constraint.NumEmbeddeds() {
			switch term := constraint.EmbeddedType(i).(type) {
			case *types.Union:
				for j := range term.Len() {
					found = found || isFloatType(term.Term(j).Type())
				}
			default:
				found = found || isFloatType(term)
			}
		}
		return found
	}
	return isFloatType(t)
}

func isFloatType(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsFloat != 0
}
