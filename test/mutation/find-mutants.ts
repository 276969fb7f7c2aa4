import type { Node, SourceFile } from 'typescript/unstable/ast'
import { type Edit, type Mutant, mutantOf } from './mutant.ts'
import { editsOf } from './mutators.ts'
import { isUnseen } from './unseen.ts'

/** findMutants is every mutant of a file, in the order of the text. Whether one compiles is not known yet. */
export function findMutants(file: string, source: SourceFile): readonly Mutant[] {
  const edits = new Map<string, Edit>()
  const visit = (node: Node): undefined => {
    if (isUnseen(node)) return
    for (const edit of editsOf(node)) {
      const changes = source.text.slice(edit.start, edit.end) !== edit.text
      if (changes) edits.set(`${edit.start} ${edit.end} ${edit.text}`, edit)
    }
    node.forEachChild(visit)
  }
  source.forEachChild(visit)
  return [...edits.values()]
    .toSorted((a, b) => a.start - b.start || a.end - b.end)
    .map((edit) => mutantOf(file, source.text, edit))
}
