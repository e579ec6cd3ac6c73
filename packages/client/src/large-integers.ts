import { type Document, isScalar, visit } from 'yaml'

/** A number with more digits than JavaScript's numbers hold, such as an account's, stays what was written: as text. */
export function keepLargeIntegers(document: Document): void {
  visit(document, {
    Scalar: (_key, node) => {
      const { value, source } = node
      if (isScalar(node) && typeof value === 'number' && source !== undefined && /^[-+]?\d+$/.test(source)) {
        if (!Number.isSafeInteger(value)) node.value = source
      }
    },
  })
}
