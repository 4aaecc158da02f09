// Elements that hostile text has become: images and links out, scripts in links, event handlers.
() => {
    const bad = [];
    const look = root => {
        for (const node of root.querySelectorAll('*')) {
            if (node.shadowRoot) look(node.shadowRoot);
            const src = node.getAttribute('src') || '', href = node.getAttribute('href') || '';
            const out = /evil/.test(src) || /evil|^\s*javascript:/i.test(href);
            if (out || node.hasAttribute('onerror') || node.hasAttribute('onload')) bad.push(node.outerHTML.slice(0, 200));
        }
    };
    look(document.body);
    return bad;
}
