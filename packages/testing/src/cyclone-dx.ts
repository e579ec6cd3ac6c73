import { Spec, Validation } from '@cyclonedx/cyclonedx-library'

/**
 * What CycloneDX's own JSON schema finds wrong with a bill of materials: nothing where it is valid.
 * @param document - the document, or its text; its `specVersion` says by which schema
 */
export async function cycloneDxFaults(document: unknown): Promise<readonly unknown[]> {
  const text = typeof document === 'string' ? document : JSON.stringify(document)
  const { specVersion } = JSON.parse(text) as { specVersion: string }
  if (!isVersion(specVersion)) return [`there is no CycloneDX ${specVersion}`]
  const found: unknown = await new Validation.JsonStrictValidator(specVersion).validate(text)
  if (found === null) return []
  return Array.isArray(found) ? found : [found]
}

function isVersion(text: string): text is Spec.Version {
  return Object.values<string>(Spec.Version).includes(text)
}
