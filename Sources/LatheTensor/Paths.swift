/// The folder part of a path: what stands before its last "/", "" where there is none.
///
/// Foundation's own answer traps on a name of one letter.
package func folder(ofPath path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "" }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}
