package jepa
import ("testing";"fmt";"edgejepa/vit")
func TestZZ(t *testing.T){
 for _, pr := range []vit.Precision{vit.F16, vit.I8} {
	c := precise(presetConfig(t, "small", 224, 16, 8), pr)
	p, _, _ := Fit(c, 2, 1)
	tot, parts := Layout(c, p, 2)
	fmt.Println(pr, p, tot>>20)
	for _,p:=range parts {fmt.Printf("   %8.2f %s\n", float64(p.End-p.Start)/(1<<20), p.Name)}
	for p := range Plans(c, 2) { fmt.Println(p, Footprint(c,p,2)>>20) }
 }
}
