package pixels

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Files and folders that may not be read are named and passed over. Root may read everything, so this thread becomes
// another user's for as long as it looks at files.
func TestUnreadable(t *testing.T) {
	root := plant(t, map[string][]byte{"a/1.png": aPicture, "b/2.png": aPicture, "b/3.png": aPicture, "b/notes": nil})
	for dir := root; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	for _, name := range []string{"a", "b/2.png", "b/notes"} {
		require.NoError(t, os.Chmod(filepath.Join(root, name), 0))
	}
	defer os.Chmod(filepath.Join(root, "a"), 0o755)
	if os.Getuid() == 0 {
		const nobody = 65534
		runtime.LockOSThread()
		require.NoError(t, syscall.Setfsuid(nobody))
		defer runtime.UnlockOSThread()
		defer syscall.Setfsuid(0)
	}
	if f, err := os.Open(filepath.Join(root, "b/2.png")); err == nil {
		f.Close()
		if os.Getenv("CI") == "true" {
			t.Fatal("this user may read everything, and cannot become another")
		}
		t.Skip("this user may read everything, and cannot become another")
	}
	f, err := os.Open(filepath.Join(root, "b/3.png"))
	if err != nil {
		t.Skip("another user may not look into TMPDIR: ", err)
	}
	require.NoError(t, f.Close())
	found, skipped := walk(root, root)
	require.Equal(t, []string{"b/3.png"}, found)
	require.Equal(t, []string{"a: permission denied", "b/2.png: permission denied", "b/notes: permission denied"}, skipped)
	_, err = Load(filepath.Join(root, "b/2.png"), Limits{})
	require.ErrorContains(t, err, "2.png: permission denied")
}
