// A list to choose from: one tab stop, arrow keys move the choice. Outside text enters by textContent only.
export default function (component) {
  const { data, parentElement, setStateValue } = component
  const root = parentElement.querySelector('.list')
  const rows = data.rows
  const make = (kind, name, text, into) => {
    const node = document.createElement(kind)
    node.className = name
    if (text !== undefined && text !== null) node.textContent = text
    into.appendChild(node)
    return node
  }
  const stamp = JSON.stringify(rows)
  if (root.dataset.stamp !== stamp) {
    root.dataset.stamp = stamp
    root.replaceChildren()
    root.setAttribute('role', 'listbox')
    root.setAttribute('aria-label', data.label)
    root.tabIndex = 0
    for (const row of rows) {
      const line = make('div', 'row', null, root)
      line.id = 'row-' + row.id
      line.dataset.id = row.id
      line.setAttribute('role', 'option')
      if (row.rank !== undefined) make('span', 'rank', row.rank, line)
      if (row.tile) make('span', 'tile', row.tile, line)
      const words = make('span', 'words', null, line)
      make('span', 'title', row.title, words).title = row.title
      if (row.sub) make('span', 'sub', row.sub, words).title = row.sub
      if (row.score !== undefined) {
        const score = make('span', 'score', null, line)
        make('span', 'value', row.score, score)
        const bar = make('span', 'bar', null, score)
        make('i', '', null, bar).style.width = Math.max(0, Math.min(1, row.share)) * 100 + '%'
      }
      if (row.side !== undefined) make('span', 'side ' + (row.tone || ''), row.side, line)
    }
  }
  const select = (id, tell) => {
    for (const line of root.children) {
      const on = line.dataset.id === id
      line.setAttribute('aria-selected', on ? 'true' : 'false')
      if (on) {
        root.setAttribute('aria-activedescendant', line.id)
        if (tell) line.scrollIntoView({ block: 'nearest' })
      }
    }
    root.dataset.picked = id || ''
    if (tell) setStateValue('picked', id)
  }
  select(data.picked, false)
  root.onclick = event => {
    const line = event.target.closest('.row')
    if (line) select(line.dataset.id, true)
  }
  root.onkeydown = event => {
    const ids = rows.map(row => row.id)
    const at = ids.indexOf(root.dataset.picked)
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: ids.length - 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    if (to >= 0 && to < ids.length) select(ids[to], true)
  }
}
