// A few short buttons whose labels came from outside: textContent only.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const root = parentElement.querySelector('.chips')
  const stamp = JSON.stringify(data)
  if (root.dataset.stamp === stamp) return
  root.dataset.stamp = stamp
  root.setAttribute('role', 'group')
  root.setAttribute('aria-label', data.label)
  root.replaceChildren()
  for (const chip of data.chips) {
    const button = document.createElement('button')
    button.type = 'button'
    button.textContent = chip.text
    button.disabled = Boolean(data.disabled)
    if (chip.note) {
      const note = document.createElement('span')
      note.textContent = chip.note
      button.appendChild(note)
    }
    button.onclick = () => setTriggerValue('chosen', chip.text)
    root.appendChild(button)
  }
}
