/**
 * Whether two values of plain data (what JSON can say) are equal; a property that is undefined counts as absent. Many times faster than
 * comparing their texts, which matters where whole tables are compared.
 */
export function isEqual(one: unknown, other: unknown): boolean {
  if (one === other) return true
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (Array.isArray(one))
    return Array.isArray(other) && one.length === other.length && one.every((each, i) => isEqual(each, other[i]))
  if (Array.isArray(other)) return false
  const [first, second] = [one as Record<string, unknown>, other as Record<string, unknown>]
  let count = 0
  for (const key in first) {
    if (first[key] === undefined) continue
    count++
    if (!isEqual(first[key], second[key])) return false
  }
  for (const key in second) if (second[key] !== undefined) count--
  return count === 0
}
