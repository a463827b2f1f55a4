package safetensors
import ("testing";"os";"fmt";"time";"path/filepath")
func TestTmp(t *testing.T){
 fs,_:=filepath.Glob("/work/shared/hostile/models/*")
 for _,p:=range fs{ t0:=time.Now(); f,err:=Open(p); b,_:=os.ReadFile(p); _,err2:=Parse(b)
  s:=""; if err==nil{ if e:=f.CheckFinite();e!=nil{s="NONFINITE "+e.Error()} else {s=fmt.Sprint("OK ",len(f.Tensors))}} else {s=err.Error()}
  if (err==nil)!=(err2==nil){s+=" !!DIFF"}
  fmt.Println(filepath.Base(p), time.Since(t0).Round(time.Millisecond), s)}
 for _,p:=range []string{"micro_24_4","nano_32_4"}{ f,err:=Open("/work/shared/golden/ijepa_"+p+".safetensors"); fmt.Println(err, len(f.Tensors), f.CheckFinite(), f.Verify()) }
}
